//! Compares the library `pgraft.so` with the SQL script that creates its functions.
//!
//! ```text
//! pgraft-schema print LIBRARY CONTROL           the SQL that pgrx would generate
//! pgraft-schema check LIBRARY CONTROL SCRIPT    the script creates exactly these functions
//! ```
//!
//! pgrx leaves a description of every `#[pg_extern]` in a section of the library. The script that
//! is installed is written by hand, because its order, grants and comments matter and a released
//! one never changes; this program proves that both say the same.
//! Not here: views and grants, which exist in the script only.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use object::{Object as _, ObjectSection as _};
use pgrx_sql_entity_graph::section::{decode_entities, is_schema_section_name};
use pgrx_sql_entity_graph::{ControlFile, PgrxSql, SqlGraphEntity};

const USAGE: &str = "usage: pgraft-schema print LIBRARY CONTROL
       pgraft-schema check LIBRARY CONTROL SCRIPT";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["print", library, control] => {
            generated(library, control).map(|sql| println!("{}", sql.trim()))
        }
        ["check", library, control, script] => check(library, control, script),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What pgrx's own tool would write for the library.
fn generated(library: &str, control: &str) -> Result<String, Box<dyn Error>> {
    let bytes = std::fs::read(library).map_err(|e| format!("read {library}: {e}"))?;
    let file = object::File::parse(bytes.as_slice())?;
    let section = file
        .sections()
        .find(|section| section.name().is_ok_and(is_schema_section_name))
        .ok_or_else(|| format!("{library} has no description of its functions"))?;
    let control =
        ControlFile::from_path_with_cargo_version(Path::new(control), env!("CARGO_PKG_VERSION"))?;
    let mut entities = vec![SqlGraphEntity::ExtensionRoot(control)];
    entities.extend(decode_entities(section.data()?)?);
    Ok(PgrxSql::build(entities.into_iter(), "pgraft".to_owned(), false)?.to_sql()?)
}

fn check(library: &str, control: &str, script: &str) -> Result<(), Box<dyn Error>> {
    let described = functions(&generated(library, control)?);
    let text = std::fs::read_to_string(script).map_err(|e| format!("read {script}: {e}"))?;
    let created = functions(&text);
    let missing: Vec<&str> = described.difference(&created).map(String::as_str).collect();
    let unknown: Vec<&str> = created.difference(&described).map(String::as_str).collect();
    if missing.is_empty() && unknown.is_empty() {
        println!("{script}: {} functions, as in the library", created.len());
        return Ok(());
    }
    let list = |statements: &[&str]| statements.join("\n  ");
    let (missing, unknown) = (list(&missing), list(&unknown));
    let lacks = format!("{script} lacks:\n  {missing}");
    Err(format!("{lacks}\n{script} has, but not the library:\n  {unknown}").into())
}

/// The statements that create functions, without what does not matter: comments, layout, case,
/// quotes around plain names, short names of types.
fn functions(sql: &str) -> BTreeSet<String> {
    let lines = sql.lines().filter(|line| !line.trim_start().starts_with('\\'));
    let without_comments: Vec<&str> =
        lines.map(|line| line.split("--").next().unwrap_or_default()).collect();
    without_comments
        .join("\n")
        .split(';')
        .map(|statement| words(&without_block_comments(statement)).join(" "))
        .filter(|statement| statement.starts_with("create function"))
        .collect()
}

fn words(statement: &str) -> Vec<String> {
    let spaced = statement.replace('"', "").replace(',', " , ").replace('(', " ( ");
    let spaced = spaced.replace(')', " ) ").to_lowercase();
    let full_name = |word: &str| match word {
        "int" => "integer".to_owned(),
        "bool" => "boolean".to_owned(),
        other => other.to_owned(),
    };
    spaced.split_whitespace().map(full_name).collect()
}

fn without_block_comments(sql: &str) -> String {
    let (mut kept, mut rest) = (String::new(), sql);
    while let Some((before, comment)) = rest.split_once("/*") {
        kept.push_str(before);
        kept.push(' ');
        rest = comment.split_once("*/").map_or("", |(_, after)| after);
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENERATED: &str = "/* </end connected objects> */\n-- src/sql.rs:1\n\
        CREATE  FUNCTION \"a\"(\n\t\"x\" INT /* i32 */\n) RETURNS bool\nLANGUAGE c;\n\
        REVOKE ALL ON FUNCTION a FROM PUBLIC;";

    #[test]
    fn comments_and_layout_do_not_matter() {
        let by_hand = "\\echo x\nCREATE FUNCTION a(x integer) RETURNS boolean LANGUAGE c;";
        assert_eq!(functions(GENERATED), functions(by_hand));
    }

    /// Canary: a changed type is the mistake that this program is for.
    #[test]
    fn canary_a_changed_type_is_seen() {
        assert_ne!(functions(GENERATED), functions(&GENERATED.replace("INT", "BIGINT")));
        assert_ne!(functions(GENERATED), functions(""));
    }
}
