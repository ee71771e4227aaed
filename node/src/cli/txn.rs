//! The words of `pgraft kv txn`: compares and operations as short texts.

use clap::Args;
use pgraft_kv::{Compare, CompareResult, CompareTarget, DeleteRange, Op, Put, RangeRequest, Txn};

/// Example: --compare "value(lock) = free" --then "put lock mine" --else "get lock"
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A condition, e.g. "mod(key) > 3", "version(key) = 0", "value(key) != text"; all must hold.
    #[arg(long = "compare", value_name = "CONDITION")]
    compare: Vec<String>,
    /// Done when they hold: "put KEY VALUE", "get KEY" or "del KEY".
    #[arg(long = "then", value_name = "OPERATION")]
    then: Vec<String>,
    /// Done when they do not.
    #[arg(long = "else", value_name = "OPERATION")]
    otherwise: Vec<String>,
}

impl Arguments {
    pub(super) fn parse(&self) -> Result<Txn, String> {
        let operations = |texts: &[String]| -> Result<Vec<Op>, String> {
            texts.iter().map(|text| operation(text)).collect()
        };
        Ok(Txn {
            compare: self.compare.iter().map(|text| compare(text)).collect::<Result<_, _>>()?,
            success: operations(&self.then)?,
            failure: operations(&self.otherwise)?,
        })
    }
}

fn compare(text: &str) -> Result<Compare, String> {
    let bad = |why: &str| format!("condition \"{text}\": {why}");
    let (target, rest) = text.trim().split_once('(').ok_or_else(|| bad("no '('"))?;
    let (key, rest) = rest.split_once(')').ok_or_else(|| bad("no ')'"))?;
    let (result, operand) = [
        ("!=", CompareResult::NotEqual),
        ("=", CompareResult::Equal),
        (">", CompareResult::Greater),
        ("<", CompareResult::Less),
    ]
    .into_iter()
    .find_map(|(sign, result)| Some((result, rest.trim().strip_prefix(sign)?.trim())))
    .ok_or_else(|| bad("none of = != > <"))?;
    let number = || operand.parse::<i64>().map_err(|_| bad("not a number"));
    let target = match target.trim() {
        "value" => CompareTarget::Value(operand.as_bytes().to_vec()),
        "version" => CompareTarget::Version(number()?),
        "create" => CompareTarget::Create(number()?),
        "mod" => CompareTarget::Mod(number()?),
        "lease" => CompareTarget::Lease(number()?),
        _ => return Err(bad("not one of value, version, create, mod, lease")),
    };
    Ok(Compare { key: key.as_bytes().to_vec(), range_end: Vec::new(), result, target })
}

fn operation(text: &str) -> Result<Op, String> {
    let bad =
        || format!("operation \"{text}\": write \"put KEY VALUE\", \"get KEY\" or \"del KEY\"");
    let (verb, rest) = text.trim().split_once(' ').ok_or_else(bad)?;
    match verb {
        "put" => {
            let (key, value) = rest.split_once(' ').ok_or_else(bad)?;
            Ok(Op::Put(Put::new(key, value)))
        }
        "get" => Ok(Op::Range(RangeRequest::key(rest))),
        "del" => Ok(Op::DeleteRange(DeleteRange::key(rest))),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_and_operations_parse() {
        let one = compare("value(lock) = free").unwrap();
        assert_eq!(one.key, b"lock");
        assert_eq!(one.target, CompareTarget::Value(b"free".to_vec()));
        assert_eq!(compare("mod(k) != 3").unwrap().result, CompareResult::NotEqual);
        assert_eq!(operation("put a b c").unwrap(), Op::Put(Put::new("a", "b c")));
        for wrong in ["x", "mod(k) = x", "size(k) = 1", "mod k = 1"] {
            assert!(compare(wrong).is_err(), "{wrong} was accepted");
        }
        assert!(operation("set a b").is_err());
    }
}
