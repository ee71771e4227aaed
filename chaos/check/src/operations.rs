//! What a machine is asked: the templates in its operations.toml, found beside it, and commands
//! drawn from them. Not here: what a template may say (pgraft-chaos, `workload::custom`).

use std::path::{Path, PathBuf};

use pgraft_chaos::seed::Seed;
use pgraft_chaos::workload::{Custom, Operation, Workload};
use pgraft_judge::history::Call;

/// The name of the file in a project.
pub const FILE: &str = "operations.toml";
/// Draws until a command comes; beyond, there is none worth the name.
const DRAWS_MAX: u64 = 10_000;

/// Templates, and where they were read.
#[derive(Clone, Debug)]
pub struct Operations {
    /// The file.
    pub path: PathBuf,
    /// What it says.
    pub templates: Custom,
}

impl Operations {
    /// Reads the templates `given`, or those that stand with a module: `operations.toml` in its
    /// folder, or, when it lies in a folder `target`, in the folder of that.
    ///
    /// # Errors
    /// When there are none, or they are malformed, or have no command; in words.
    pub fn of(module: &Path, given: Option<&Path>) -> Result<Operations, String> {
        let path = match given {
            Some(given) => given.to_owned(),
            None => beside(module)?,
        };
        let shown = path.display();
        let text = std::fs::read_to_string(&path).map_err(|why| format!("{shown}: {why}"))?;
        let templates = Custom::parse(&text).map_err(|why| format!("{shown}: {why}"))?;
        let operations = Operations { path: path.clone(), templates };
        let chance = Seed::new(0);
        if operations.commands(chance, "is there one", 1).is_empty() {
            return Err(format!("{shown}: no operation is a command, so nothing would change"));
        }
        Ok(operations)
    }

    /// Name of the machine that is asked.
    pub fn machine(&self) -> &str {
        self.templates.machine()
    }

    /// So many operations of any kind, by the chance of `seed` for a purpose.
    pub fn draw(&self, seed: Seed, purpose: &str, count: usize) -> Vec<Operation> {
        let (mut templates, mut chance) = (self.templates.clone(), seed.stream(purpose));
        let drawn = (0..count).filter_map(|number| templates.next(number as u64 % 4, &mut chance));
        drawn.collect()
    }

    /// So many commands. Fewer only when there are none.
    pub fn commands(&self, seed: Seed, purpose: &str, count: usize) -> Vec<Operation> {
        let (mut templates, mut chance) = (self.templates.clone(), seed.stream(purpose));
        let mut commands = Vec::new();
        let most = DRAWS_MAX + count as u64;
        for number in 0..most {
            if commands.len() == count {
                break;
            }
            let drawn = templates.next(number % 4, &mut chance);
            commands.extend(drawn.filter(|operation| operation.call == Call::Command));
        }
        commands
    }
}

fn beside(module: &Path) -> Result<PathBuf, String> {
    let folder = module.parent().unwrap_or(Path::new(""));
    let mut places = vec![folder.join(FILE)];
    let whole = std::path::absolute(module).unwrap_or_else(|_| module.to_owned());
    let target = whole.ancestors().find(|place| place.file_name().is_some_and(|n| n == "target"));
    places.extend(target.and_then(Path::parent).map(|project| project.join(FILE)));
    let found = places.iter().find(|place| place.is_file()).cloned();
    found.ok_or_else(|| {
        let shown: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        format!(
            "{}: what shall it be asked? There is no {}; write one (docs/CHAOS.md, \"Your own \
             machine\") or name one with --operations",
            module.display(),
            shown.join(" and no ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), text).unwrap();
        let module = folder.path().join("a.wasm");
        (folder, module)
    }

    const COUNTER: &str = "machine = \"counter\"\n[[operation]]\ncall = \"command\"\ntext = \"a\"\n\
                           [[operation]]\ncall = \"query\"\ntext = \"a\"\n";

    #[test]
    fn templates_are_found_beside_a_module_and_above_target() {
        let (folder, module) = written(COUNTER);
        let found = Operations::of(&module, None).unwrap();
        assert_eq!((found.machine(), &found.path), ("counter", &folder.path().join(FILE)));
        let built = folder.path().join("target/machine/a.wasm");
        assert_eq!(Operations::of(&built, None).unwrap().path, found.path);
        let commands = found.commands(Seed::new(1), "test", 5);
        assert!(commands.len() == 5 && commands.iter().all(|one| one.payload == b"a"));
    }

    #[test]
    fn what_is_missing_or_malformed_is_said_with_its_place() {
        let nowhere = Operations::of(Path::new("/no/where/a.wasm"), None).unwrap_err();
        assert!(nowhere.contains("--operations") && nowhere.contains("/no/where"), "{nowhere}");
        let cases = [
            ("machine = 1", "machine"),
            ("machine = \"c\"\nwords = 1\n", "words"),
            (&COUNTER.replace("text = \"a\"", "text = \"{what}\""), "{what}"),
            (&COUNTER.replace("command", "query"), "no operation is a command"),
        ];
        for (text, named) in cases {
            let (folder, module) = written(text);
            let why = Operations::of(&module, None).unwrap_err();
            assert!(why.contains(named), "{why}");
            assert!(why.contains(&*folder.path().to_string_lossy()), "{why}");
        }
    }
}
