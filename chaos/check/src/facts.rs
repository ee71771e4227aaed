//! What can be said of a module without asking it anything: its description, its imports and its
//! size. Not here: what it does.

use std::fmt;

use pgraft_judge::Rank;

use crate::candidate::Candidate;
use crate::tally::Part;

/// Bytes of a component that a cluster installs.
pub const COMPONENT_BYTES_MAX: usize = 16 << 20;
/// Name of the part.
pub const NAME: &str = "facts";

/// The facts, with their names: what a report shows.
pub fn list(candidate: &Candidate) -> Vec<(String, String)> {
    let manifest = candidate.manifest();
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let verifies = candidate.function.verifies();
    vec![
        fact("module", format!("{} {}", manifest.name, manifest.version)),
        fact("component, bytes", grouped(candidate.module.component.len())),
        fact("sha256", candidate.sha256()),
        fact("schema", format!("{}, migrates from {}", manifest.schema, manifest.migrates_from)),
        fact("keyed", yes_or_no(manifest.keyed)),
        fact("exports verification", yes_or_no(verifies)),
    ]
}

/// Looks at them.
pub fn check(candidate: &Candidate) -> Part {
    let manifest = candidate.manifest();
    let size = candidate.module.component.len();
    let mut wrong = Vec::new();
    if size > COMPONENT_BYTES_MAX {
        let (size, most) = (grouped(size), grouped(COMPONENT_BYTES_MAX));
        wrong.push(format!("the component has {size} bytes, a cluster installs {most} at most"));
    }
    if manifest.name.is_empty() {
        wrong.push("the manifest has no name".to_owned());
    }
    if manifest.migrates_from > manifest.schema {
        wrong.push(format!(
            "the manifest says that schema {} migrates from {}, which is newer",
            manifest.schema, manifest.migrates_from
        ));
    }
    let imports = pgraft_engine::imports(&candidate.module.component);
    let imports = match &imports {
        Ok(imports) if imports.is_empty() => "imports nothing".to_owned(),
        Ok(imports) => {
            let names: Vec<&str> = imports.iter().map(|name| interface(name)).collect();
            format!("imports {}", names.join(" "))
        }
        Err(_) => "imports only what it may".to_owned(),
    };
    let keyed = if manifest.keyed { "keyed" } else { "not keyed" };
    let verifies = if candidate.function.verifies() { "exports" } else { "does not export" };
    let says = format!(
        "{} {}, {} bytes, {imports}; schema {} from {}; {keyed}; \
         {verifies} verification",
        manifest.name,
        manifest.version,
        grouped(size),
        manifest.schema,
        manifest.migrates_from
    );
    match wrong.is_empty() {
        true => Part::pass(NAME, says),
        false => Part { detail: vec![says], ..Part::new(NAME, Rank::Fail, wrong.join("; ")) },
    }
}

/// `storage` of `pgraft:machine/storage@0.1.0`.
fn interface(name: &str) -> &str {
    pgraft_engine::bare(name)
}

fn yes_or_no(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

/// A whole number with commas between thousands.
pub fn grouped(number: impl fmt::Display) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
