//! Machines in C and Zig, both through zig: it brings clang, a linker and a C library for WASM.

use std::path::{Path, PathBuf};

use crate::component::described;
use crate::glue::{WORLD, generate, update};
use crate::{Error, STACK_BYTES, make_folder, read, tools};

/// Files that machines in C are built with.
const C_FILES: [(&str, &str); 2] =
    [("pgraft.h", include_str!("../c/pgraft.h")), ("defaults.c", include_str!("../c/defaults.c"))];

/// Files that machines in Zig are built with.
const ZIG_FILES: [(&str, &str); 4] = [
    ("pgraft.zig", include_str!("../zig/pgraft.zig")),
    ("root.zig", include_str!("../zig/root.zig")),
    ("libc/stdlib.h", include_str!("../zig/libc/stdlib.h")),
    ("libc/string.h", include_str!("../zig/libc/string.h")),
];

/// A machine in C: all `.c` files of the folder. Its C library has no files, clock or chance; what
/// of it asks for them does not link.
pub(crate) fn build_c(project: &Path, out: &Path) -> Result<Vec<u8>, Error> {
    let glue = out.join("c");
    generate(&glue)?;
    lay_out(&glue, &C_FILES)?;
    let mut zig = tools::zig()?;
    let core = out.join("core.wasm");
    zig.args(["cc", "-target", "wasm32-wasi", "-mexec-model=reactor", "-Os", "-s", "-DNDEBUG"])
        // Undefined behaviour traps, as in the other languages.
        .args(["-fsanitize=undefined", "-fsanitize-trap=undefined", "-Wall"])
        .arg(format!("-Wl,-z,stack-size={STACK_BYTES}"))
        .arg(format!("-ffile-prefix-map={}=/machine", project.display()))
        .arg(format!("-ffile-prefix-map={}=/glue", glue.display()))
        .arg("-I")
        .arg(&glue)
        .args(["machine.c", "defaults.c"].map(|file| glue.join(file)))
        .args(files_ending(project, "c")?)
        .arg("-o")
        .arg(&core);
    tools::run("zig cc", zig)?;
    described(read(&core)?, WORLD)
}

/// A machine in Zig: machine.zig and what it imports. Overflow and other mistakes trap.
pub(crate) fn build_zig(project: &Path, out: &Path) -> Result<Vec<u8>, Error> {
    let glue = out.join("zig");
    generate(&glue)?;
    make_folder(&glue.join("libc"))?;
    lay_out(&glue, &ZIG_FILES)?;
    let mut zig = tools::zig()?;
    let core = out.join("core.wasm");
    let module = |name: &str, path: PathBuf| format!("-M{name}={}", path.display());
    zig.current_dir(&glue)
        .args(["build-exe", "-target", "wasm32-freestanding", "-fno-entry", "-rdynamic"])
        .args(["-O", "ReleaseSafe", "-fstrip", "--stack", &STACK_BYTES.to_string()])
        .args(["-I.", "-Ilibc", "--dep", "pgraft", "--dep", "machine", "machine.c"])
        .arg(module("root", "root.zig".into()))
        .args(["--dep", "pgraft"])
        .arg(module("machine", project.join("machine.zig")))
        .arg(module("pgraft", "pgraft.zig".into()))
        .arg(format!("-femit-bin={}", core.display()));
    tools::run("zig", zig)?;
    described(read(&core)?, WORLD)
}

pub(crate) fn lay_out(folder: &Path, files: &[(&str, &str)]) -> Result<(), Error> {
    files.iter().try_for_each(|(name, text)| update(&folder.join(name), text.as_bytes()))
}

/// The files of the project with this extension, in order.
pub(crate) fn files_ending(project: &Path, wanted: &str) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::File { path: project.to_owned(), source };
    let mut files = Vec::new();
    for entry in project.read_dir().map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == wanted) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
