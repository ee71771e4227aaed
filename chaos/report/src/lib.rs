//! One self-contained HTML page about one run: verdicts, the operations that prove a failure on a
//! time line, faults, leaders, latency and throughput.
//!
//! It shows what it is given and judges nothing. The page needs no server and no network: styles,
//! scripts and data stand in it, and its content security policy forbids everything else.

mod bins;
mod data;
mod focus;
mod html;
mod lanes;
mod overview;
mod story;
mod tables;

use pgraft_judge::history::Event;

pub use overview::{Overview, OverviewLine, overview};

use crate::{focus::Focus, html::escaped, story::Story};

/// What a page is about.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    /// Everything that was recorded, in the order of the file.
    pub history: &'a [Event],
    /// What each checker came to. Without any the page says that nothing is known.
    pub verdicts: Vec<VerdictLine>,
    /// Numbers of the operations that prove a failure; the page opens on them.
    pub offending: Vec<u64>,
    /// The command that repeats the run.
    pub reproduce: String,
    /// The shortest trace that still fails, as text for people.
    pub shrunk: Option<String>,
}

/// What one checker came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictLine {
    /// Its name.
    pub checker: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// Why, in words.
    pub says: String,
}

/// A verdict; the worst of several is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing was found, and everything was looked at.
    Pass,
    /// Not decided; never a pass.
    Unknown,
    /// Something was found.
    Fail,
}

impl Page<'_> {
    /// The worst verdict. A violation in the history is a failure whatever the checkers say, and
    /// without checkers nothing is known.
    pub fn verdict(&self) -> Verdict {
        use pgraft_judge::history::What;
        if self.history.iter().any(|event| matches!(event.what, What::Violation(_))) {
            return Verdict::Fail;
        }
        let worst = self.verdicts.iter().map(|line| line.verdict).max();
        worst.unwrap_or(Verdict::Unknown)
    }
}

/// The page. Its size is bounded: of a long history the operations next to the failure are kept,
/// and the page says what was left out.
pub fn render(page: &Page) -> String {
    let story = Story::of(page.history);
    let focus = Focus::of(&story, &page.offending);
    let data = data::embedded(&story, &focus);
    let scenario = story.run.map_or("no run", |run| run.scenario.as_str());
    let parts = [
        tables::banner(page, &story),
        tables::facts(&story),
        tables::verdicts(&page.verdicts),
        tables::violations(&story),
        tables::offending(&story, &focus),
        timeline(&story, &focus),
        tables::faults_and_marks(&story),
        tables::shrunk(page.shrunk.as_deref()),
    ];
    format!(
        "<!doctype html>\n<html lang=\"en\" data-state=\"starting\">\n<head>\n\
         <meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <title>{word}: {scenario}</title>\n<style>\n{css}</style>\n</head>\n<body>\n{body}\
         <script type=\"application/json\" id=\"data\">{data}</script>\n\
         <script>\n\"use strict\";\n(() => {{\n{script}}})();\n</script>\n</body>\n</html>\n",
        word = tables::word(page.verdict()),
        scenario = escaped(scenario),
        css = include_str!("page/page.css"),
        body = parts.concat(),
        script = SCRIPT.concat(),
    )
}

/// The page's program, in the order in which its parts build on each other.
const SCRIPT: [&str; 5] = [
    include_str!("page/state.js"),
    include_str!("page/paint.js"),
    include_str!("page/detail.js"),
    include_str!("page/whole.js"),
    include_str!("page/hands.js"),
];

/// The places that the script draws in, with what stands there for those who cannot see it.
fn timeline(story: &Story, focus: &Focus) -> String {
    let note = focus.left_out(story).map_or(String::new(), |note| {
        format!("<p class=\"note\" id=\"left-out\">{}</p>\n", escaped(&note))
    });
    include_str!("page/timeline.html").replace("<!-- left out -->\n", &note)
}
