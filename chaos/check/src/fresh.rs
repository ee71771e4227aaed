//! `pgraft-check new`: a project's folder with a small machine that works, to be replaced by one's
//! own. Not here: how it is built.

use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What a project is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    /// With pgraft-sdk.
    Rust,
    /// With `pgraft.h`, through zig.
    C,
    /// With `pgraft.zig`.
    Zig,
    /// On QuickJS.
    Js,
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Language::Rust => "Rust",
            Language::C => "C",
            Language::Zig => "Zig",
            Language::Js => "JavaScript",
        })
    }
}

/// What is asked for.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Name of the machine, and of the folder that is made for it.
    pub name: String,
    /// What it is written in.
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    pub lang: Language,
    /// The folder in which the project's folder is made.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub within: PathBuf,
    /// The folder statemachines/sdk of a checkout of pgraft, for Rust [default: that of the
    /// checkout this program was built in].
    #[arg(long, value_name = "FOLDER")]
    pub sdk: Option<PathBuf>,
}

/// Bytes of a name.
const NAME_BYTES_MAX: usize = 40;
/// Names that the cluster uses itself.
const RESERVED: [&str; 3] = ["kv", "membership", "machines"];
/// Names that a Rust package cannot have, or that would hide something else.
const RUST_WORDS: [&str; 49] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "pgraft",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "serde",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "type",
];

/// The checkout that this program was built in.
fn checkout() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Writes a project's folder.
///
/// # Errors
/// When the name is not one, the folder exists, the SDK is not there, or a file cannot be written;
/// in words.
pub fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<bool, String> {
    let Arguments { name, lang, within, .. } = arguments;
    check_name(name)?;
    let folder = within.join(name);
    let shown = folder.display();
    if folder.exists() {
        return Err(format!("{shown} is there already; give another name, or remove it"));
    }
    let files = match lang {
        Language::Rust => rust(name, &sdk(arguments.sdk.as_deref())?),
        other => plain(*other, name),
    };
    for (path, text) in files {
        let file = folder.join(&path);
        let parent = file.parent().expect("it lies in the folder");
        fs::create_dir_all(parent).map_err(|why| format!("{}: {why}", parent.display()))?;
        fs::write(&file, text).map_err(|why| format!("{}: {why}", file.display()))?;
    }
    let told = |why: std::io::Error| format!("standard output: {why}");
    writeln!(out, "made {shown}: a machine in {lang}").map_err(told)?;
    writeln!(out, "next: pgraft machine test {shown}").map_err(told)?;
    Ok(true)
}

/// The rule for names: they name a package, a folder and a machine.
fn check_name(name: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("\"{name}\" cannot be a machine's name: {why}"));
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return wrong(&format!("a name has 1 to {NAME_BYTES_MAX} letters"));
    }
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(plain) {
        return wrong("a name has small letters a to z, digits and -, and begins with a letter");
    }
    if name.ends_with('-') || name.contains("--") {
        return wrong("a - stands between letters or digits");
    }
    if RESERVED.contains(&name) {
        return wrong("the cluster uses it itself");
    }
    if RUST_WORDS.contains(&name) {
        return wrong("it is a word of Rust, or a package that machines use");
    }
    Ok(())
}

/// The folder of the SDK.
fn sdk(given: Option<&Path>) -> Result<PathBuf, String> {
    let own = checkout().join("statemachines/sdk");
    let folder = given.unwrap_or(&own);
    if !folder.join("Cargo.toml").is_file() {
        let shown = folder.display();
        return Err(match given {
            Some(_) => format!("--sdk {shown}: there is no Cargo.toml in it"),
            None => format!(
                "the checkout that this program was built in is gone ({shown}); name the folder \
                 statemachines/sdk of another one with --sdk"
            ),
        });
    }
    folder.canonicalize().map_err(|why| format!("{}: {why}", folder.display()))
}

/// Paths and texts.
type Files = Vec<(String, String)>;

fn rust(name: &str, sdk: &Path) -> Files {
    const TEMPLATES: [(&str, &str); 5] = [
        ("Cargo.toml", include_str!("../templates/rust/Cargo.toml")),
        ("src/lib.rs", include_str!("../templates/rust/lib.rs")),
        ("tests/machine.rs", include_str!("../templates/rust/tests.rs")),
        ("examples/native.rs", include_str!("../templates/rust/native.rs")),
        ("operations.toml", include_str!("../templates/rust/operations.toml")),
    ];
    let sdk_shown = sdk.display().to_string();
    let (type_name, crate_name) = (type_name(name), name.replace('-', "_"));
    let filled = |text: &str| {
        text.replace("{{name}}", name)
            .replace("{{Type}}", &type_name)
            .replace("{{crate}}", &crate_name)
            .replace("{{sdk}}", &sdk_shown)
    };
    let mut files: Files =
        TEMPLATES.iter().map(|(path, text)| ((*path).to_owned(), filled(text))).collect();
    let toolchain = include_str!("../../../rust-toolchain.toml");
    files.push(("rust-toolchain.toml".to_owned(), toolchain.to_owned()));
    // The versions that the SDK is tested with; cargo leaves out what the project does not use.
    let root = sdk.ancestors().nth(2).unwrap_or(sdk);
    if let Ok(lock) = fs::read_to_string(root.join("Cargo.lock")) {
        files.push(("Cargo.lock".to_owned(), lock));
    }
    let listed = "| `src/lib.rs` | the machine |\n\
                  | `tests/machine.rs` | plain tests: `cargo test` |\n\
                  | `examples/native.rs` | the machine as a program, which `test` compares |\n";
    let call = r#"{"put":{"what":"apples","amount":3}}"#;
    files.extend(around(Language::Rust, name, listed, call, r#"{"get":"apples"}"#));
    files
}

/// A machine in one file, the counter of statemachines/examples under another name.
fn plain(language: Language, name: &str) -> Files {
    let (file, text) = match language {
        Language::C => {
            ("machine.c", include_str!("../../../statemachines/examples/counter-c/machine.c"))
        }
        Language::Zig => {
            ("machine.zig", include_str!("../../../statemachines/examples/counter-zig/machine.zig"))
        }
        Language::Js | Language::Rust => {
            ("machine.js", include_str!("../../../statemachines/examples/counter-js/machine.js"))
        }
    };
    let about = format!("The state machine {name}: counters with names. Replace it with your own.");
    let own = text.replace("\"counter\"", &format!("\"{name}\"")).lines().enumerate().fold(
        String::new(),
        |mut text, (number, line)| {
            let mark: String = line.chars().take_while(|c| *c == '/' || *c == '!').collect();
            match number {
                0 => text.push_str(&format!("{mark} {about}")),
                _ => text.push_str(line),
            }
            text.push('\n');
            text
        },
    );
    let operations = include_str!("../templates/operations.toml").replace("{{name}}", name);
    let mut files = vec![(file.to_owned(), own), ("operations.toml".to_owned(), operations)];
    let listed = format!("| `{file}` | the machine |\n");
    files.extend(around(language, name, &listed, r#"{"add":"apples"}"#, r#"{"get":"apples"}"#));
    files
}

/// What every project has.
fn around(language: Language, name: &str, listed: &str, call: &str, query: &str) -> Files {
    let readme = include_str!("../templates/README.md")
        .replace("{{name}}", name)
        .replace("{{language}}", &language.to_string())
        .replace("{{files}}", listed)
        .replace("{{call}}", call)
        .replace("{{query}}", query);
    let ignored = include_str!("../templates/gitignore").to_owned();
    vec![("README.md".to_owned(), readme), (".gitignore".to_owned(), ignored)]
}

/// `my-lock` as the name of a type: `MyLock`.
fn type_name(name: &str) -> String {
    let word = |word: &str| {
        let (first, rest) = word.split_at(1);
        first.to_uppercase() + rest
    };
    name.split('-').map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule() {
        for name in ["a", "stock", "my-lock", "lock2"] {
            check_name(name).unwrap();
        }
        let long = "x".repeat(41);
        let bad = [
            ("", "1 to 40"),
            (&long, "1 to 40"),
            ("Lock", "small letters"),
            ("2lock", "begins with a letter"),
            ("my_lock", "small letters"),
            ("../lock", "small letters"),
            ("lock-", "between"),
            ("my--lock", "between"),
            ("kv", "cluster"),
            ("machines", "cluster"),
            ("fn", "word of Rust"),
        ];
        for (name, rule) in bad {
            let why = check_name(name).unwrap_err();
            assert!(why.contains(rule) && why.contains(&format!("\"{name}\"")), "{why}");
        }
    }

    #[test]
    fn nothing_of_a_template_is_left() {
        let sdk = sdk(None).unwrap();
        let mut all = rust("my-lock", &sdk);
        all.extend(
            [Language::C, Language::Zig, Language::Js].map(|l| plain(l, "my-lock")).concat(),
        );
        for (path, text) in all {
            assert!(!text.contains("{{"), "{path}: {text}");
            assert!(!text.contains("../counter"), "{path}: {text}");
        }
        assert_eq!(type_name("my-lock2"), "MyLock2");
    }
}
