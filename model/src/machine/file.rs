//! A machine out of a `.wasm` file as a subject. It is compiled first: this program has a compiler,
//! which nothing that ships has.

use std::path::PathBuf;

use crate::machine::subject::{Invariant, Module, Subject};

/// What the command line says about a machine.
///
/// Bytes (commands, configuration, query, answer) are written as `0x` and hexadecimal digits, or
/// else as their text.
#[derive(clap::Args, Clone, Debug)]
pub struct MachineFile {
    /// The module: as the compiler left it, or as a component.
    pub path: PathBuf,
    /// Name of the machine; the file's, unless given.
    #[arg(long)]
    pub name: Option<String>,
    /// First configuration.
    #[arg(long, default_value = "")]
    pub config: String,
    /// Commands of one client in their order, separated by commas; once per client.
    #[arg(long = "client", value_name = "COMMANDS", required_unless_present = "commands")]
    pub clients: Vec<String>,
    /// The same out of a file: one client per line, after those of --client.
    #[arg(long, value_name = "FILE")]
    pub commands: Option<PathBuf>,
    /// A query whose answer is the same in every state.
    #[arg(long)]
    pub invariant_query: Option<String>,
    /// The answer; any, if it is not given.
    #[arg(long, requires = "invariant_query")]
    pub expect: Option<String>,
    /// How often commands may be repeated in one log.
    #[arg(long, default_value_t = 1)]
    pub repeats: u8,
    /// Leave the real hosts out: many times as fast.
    #[arg(long)]
    pub alone: bool,
}

impl MachineFile {
    /// Name of the machine.
    ///
    /// # Errors
    /// When the file has none.
    pub fn name(&self) -> Result<String, String> {
        let stem = self.path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        self.name.clone().or(stem).ok_or_else(|| "the machine has no name".to_owned())
    }

    /// The commands of each client.
    ///
    /// # Errors
    /// In words.
    pub fn clients(&self) -> Result<Vec<Vec<Vec<u8>>>, String> {
        let mut lines = self.clients.clone();
        if let Some(path) = &self.commands {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|why| format!("{}: {why}", path.display()))?;
            let lists = text.lines().map(str::trim).filter(|line| !line.is_empty());
            lines.extend(lists.map(str::to_owned));
        }
        let list = |line: &String| line.split(',').map(bytes).collect::<Result<_, _>>();
        lines.iter().map(list).collect()
    }

    /// Reads and compiles the module.
    ///
    /// # Errors
    /// In words.
    pub fn subject(&self) -> Result<Subject, String> {
        let shown = self.path.display();
        let guest = std::fs::read(&self.path).map_err(|why| format!("{shown}: {why}"))?;
        let component =
            pgraft_engine::component(&guest).map_err(|error| format!("{shown}: {error:#}"))?;
        let compiled = pgraft_engine::precompile(&component);
        let compiled = compiled.map_err(|error| format!("{shown}: {error:#}"))?;
        self.of(&Module::new(&self.name()?, component, compiled))
    }

    /// The subject of a module that is compiled already.
    ///
    /// # Errors
    /// In words.
    pub fn of(&self, module: &Module) -> Result<Subject, String> {
        let config = bytes(&self.config)?;
        let subject =
            Subject::new(module, &config, self.clients()?).map_err(|fault| fault.to_string())?;
        let invariant = match &self.invariant_query {
            None => Invariant::None,
            Some(query) => {
                let expected = self.expect.as_deref().map(bytes).transpose()?;
                Invariant::Query { query: bytes(query)?, expected }
            }
        };
        let subject = subject.with_invariant(invariant).repeating(self.repeats);
        Ok(if self.alone { subject.alone() } else { subject })
    }
}

/// Bytes as they are written on a command line.
fn bytes(word: &str) -> Result<Vec<u8>, String> {
    let Some(digits) = word.strip_prefix("0x") else { return Ok(word.as_bytes().to_vec()) };
    if digits.len() % 2 != 0 || !digits.is_ascii() {
        return Err(format!("{word:?}: an even number of hexadecimal digits is needed"));
    }
    let pairs = (0..digits.len()).step_by(2);
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16);
    pairs.map(|at| byte(at).map_err(|error| format!("{word:?}: {error}"))).collect()
}
