//! Names and versions of the interface between the host and a module (statemachines/wit), and which
//! of them this program speaks. Not here: what the functions do.

/// Prefix of all that a module imports, and of the interfaces it exports.
pub const PACKAGE: &str = "pgraft:machine/";
/// Version of the interface that this program offers.
pub const VERSION: &str = "0.1.0";
/// What of it must be equal for a module to be understood; a higher third number only adds.
const MINOR: &str = "0.1";

/// Whether this program speaks an interface that a module imports or exports, by the interface's
/// full name, such as `pgraft:machine/storage@0.1.3`.
///
/// # Errors
/// In words, with both versions, when it does not.
pub fn spoken(name: &str) -> Result<(), String> {
    let Some(interface) = name.strip_prefix(PACKAGE) else {
        return Err(format!("{name}; only {PACKAGE}* is there"));
    };
    let version = interface.split_once('@').map_or("", |(_, version)| version);
    let third = version.strip_prefix(MINOR).and_then(|rest| rest.strip_prefix('.'));
    match third {
        Some(number) if number.bytes().all(|digit| digit.is_ascii_digit()) => Ok(()),
        _ => Err(format!(
            "{name}; this program speaks version {VERSION} of {PACKAGE}*, and every {MINOR}.x"
        )),
    }
}

/// The part of an interface's name that does not depend on its version: `storage`.
pub fn bare(name: &str) -> &str {
    let interface = name.strip_prefix(PACKAGE).unwrap_or(name);
    interface.split_once('@').map_or(interface, |(bare, _)| bare)
}

#[cfg(test)]
mod tests {
    use super::{bare, spoken};

    #[test]
    fn every_third_number_is_spoken_and_no_other_second() {
        for name in ["pgraft:machine/guest@0.1.0", "pgraft:machine/guest@0.1.17"] {
            spoken(name).expect(name);
        }
        for name in ["guest", "guest@0.2.0", "guest@0.10.0", "guest@1.1.0", "guest@0.1.0-rc.1"] {
            let why = spoken(&format!("pgraft:machine/{name}")).expect_err(name);
            assert!(why.contains("0.1.0") && why.contains(name), "{why}");
        }
        assert!(spoken("wasi:io/streams@0.1.0").expect_err("foreign").contains("wasi:io"));
        assert_eq!(bare("pgraft:machine/guest@0.1.3"), "guest");
    }
}
