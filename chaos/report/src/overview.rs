//! One page over many looks at one thing: what each came to, with a link to its own page if it has
//! one. Plain text in a page's style; it needs no script. Not here: the pages it leads to.

use std::fmt::Write as _;

use crate::Verdict;
use crate::html::{escaped, shortened};
use crate::tables::{class, word};

/// Characters of one cell.
const CELL_MAX: usize = 2_000;
/// Characters of the details of one line.
const DETAIL_MAX: usize = 100_000;

/// What an overview is about.
#[derive(Clone, Debug)]
pub struct Overview {
    /// What was looked at.
    pub title: String,
    /// The worst of all looks, or worse.
    pub verdict: Verdict,
    /// Names and values: what it is.
    pub facts: Vec<(String, String)>,
    /// The looks, in the order in which they are shown.
    pub lines: Vec<OverviewLine>,
    /// The command that does it again.
    pub again: String,
}

/// One look.
#[derive(Clone, Debug)]
pub struct OverviewLine {
    /// At what.
    pub part: String,
    /// What it came to.
    pub verdict: Verdict,
    /// In words.
    pub says: String,
    /// More lines for people.
    pub detail: Vec<String>,
    /// The look's own page: a name, relative to the overview.
    pub page: Option<String>,
}

/// The page.
pub fn overview(overview: &Overview) -> String {
    let Overview { title, verdict, facts, lines, again } = overview;
    let mut rows = String::new();
    for OverviewLine { part, verdict, says, detail, page } in lines {
        let part = match page {
            Some(page) => format!("<a href=\"{}\">{}</a>", escaped(page), escaped(part)),
            None => escaped(part),
        };
        let detail = match detail.is_empty() {
            true => String::new(),
            false => {
                let text = shortened(&detail.join("\n"), DETAIL_MAX);
                format!("<pre>{}</pre>", escaped(&text))
            }
        };
        writeln!(
            rows,
            "<tr class=\"{class}\"><td><span class=\"pill {class}\">{word}</span></td>\
             <th scope=\"row\">{part}</th><td>{says}{detail}</td></tr>",
            class = class(*verdict),
            word = word(*verdict).to_lowercase(),
            says = escaped(&shortened(says, CELL_MAX)),
        )
        .expect(WRITES);
    }
    let mut about = String::new();
    for (name, value) in facts {
        let (name, value) = (escaped(name), escaped(&shortened(value, CELL_MAX)));
        writeln!(about, "<div><dd>{value}</dd><dt>{name}</dt></div>").expect(WRITES);
    }
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'; img-src data:\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <title>{word}: {title}</title>\n<style>\n{css}</style>\n</head>\n<body>\n\
         <header class=\"banner {class}\"><h1><span class=\"word\">{word}</span> \
         <span class=\"scenario\">{title}</span></h1>\n<p class=\"again\"><span>repeat with</span> \
         <code>{again}</code></p>\n</header>\n<dl class=\"facts\">\n{about}</dl>\n\
         <section><h2>Verdicts</h2>\n<table><thead><tr><th>verdict</th><th>part</th><th>why</th>\
         </tr></thead>\n<tbody>\n{rows}</tbody></table></section>\n</body>\n</html>\n",
        word = word(*verdict),
        class = class(*verdict),
        title = escaped(title),
        again = escaped(again),
        css = include_str!("page/page.css"),
    )
}

/// Why writing to a text does not fail.
const WRITES: &str = "strings take everything";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_shows_every_line_and_lets_nothing_out() {
        let line = |part: &str, verdict, page: Option<&str>| OverviewLine {
            part: part.to_owned(),
            verdict,
            says: format!("<{part}>"),
            detail: vec!["</pre><script>".to_owned()],
            page: page.map(str::to_owned),
        };
        let page = overview(&Overview {
            title: "my & machine".to_owned(),
            verdict: Verdict::Fail,
            facts: vec![("size".to_owned(), "7 bytes".to_owned())],
            lines: vec![
                line("facts", Verdict::Pass, None),
                line("crashes", Verdict::Fail, Some("crashes-7.html")),
            ],
            again: "pgraft-check check a.wasm".to_owned(),
        });
        assert!(page.contains("FAILED: my &amp; machine"), "{page}");
        assert!(page.contains("<a href=\"crashes-7.html\">crashes</a>"), "{page}");
        assert!(page.contains("&lt;facts&gt;") && !page.contains("<script"), "{page}");
    }
}
