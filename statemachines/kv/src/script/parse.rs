//! Arguments of script words.

use goldenscript::ArgumentConsumer;

use super::Fail;
use crate::model::*;

/// A character up to U+00FF is one byte.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>, Fail> {
    let byte = |c: char| u8::try_from(c).map_err(|_| Fail::from(format!("{c:?} is no byte")));
    text.chars().map(byte).collect()
}

/// A number given as `name=N`, 0 when it is not given.
pub(super) fn amount(args: &mut ArgumentConsumer<'_>, name: &str) -> Result<i64, Fail> {
    Ok(args.take_key(name).unwrap_or("0").parse()?)
}

/// The positional arguments that are left are flags; any other word is an error.
fn flags(args: &mut ArgumentConsumer<'_>, mut set: impl FnMut(&str) -> bool) -> Result<(), Fail> {
    while let Some(word) = args.next_pos() {
        if !set(word) {
            return Err(format!("unknown flag {word}").into());
        }
    }
    Ok(())
}

fn padded(mut bytes: Vec<u8>, size: i64, with: u8) -> Result<Vec<u8>, Fail> {
    let size = usize::try_from(size)?;
    if size > 0 {
        bytes.resize(size, with);
    }
    Ok(bytes)
}

pub(super) fn parse_put(args: &mut ArgumentConsumer<'_>) -> Result<Put, Fail> {
    let key = bytes(args.next_pos().ok_or("put needs a key")?)?;
    let value = bytes(args.next_pos().ok_or("put needs a value")?)?;
    let mut put = Put {
        key: padded(key, amount(args, "key_bytes")?, b'k')?,
        value: padded(value, amount(args, "value_bytes")?, b'v')?,
        lease: amount(args, "lease")?,
        ..Put::default()
    };
    flags(args, |word| {
        match word {
            "prev_kv" => put.prev_kv = true,
            "ignore_value" => put.ignore_value = true,
            "ignore_lease" => put.ignore_lease = true,
            _ => return false,
        }
        true
    })?;
    Ok(put)
}

/// `KEY [end=KEY]`.
fn span(args: &mut ArgumentConsumer<'_>) -> Result<(Vec<u8>, Vec<u8>), Fail> {
    let key = bytes(args.next_pos().ok_or("a key is needed")?)?;
    Ok((key, bytes(args.take_key("end").unwrap_or_default())?))
}

pub(super) fn parse_delete(args: &mut ArgumentConsumer<'_>) -> Result<DeleteRange, Fail> {
    let (key, range_end) = span(args)?;
    let mut prev_kv = false;
    flags(args, |word| {
        prev_kv = word == "prev_kv";
        prev_kv
    })?;
    Ok(DeleteRange { key, range_end, prev_kv })
}

pub(super) fn parse_range(args: &mut ArgumentConsumer<'_>) -> Result<RangeRequest, Fail> {
    let (key, range_end) = span(args)?;
    let mut range = RangeRequest {
        key,
        range_end,
        limit: amount(args, "limit")?,
        revision: amount(args, "rev")?,
        sort_order: match args.take_key("order") {
            None => SortOrder::None,
            Some("asc") => SortOrder::Ascend,
            Some("desc") => SortOrder::Descend,
            Some(order) => return Err(format!("unknown order {order}").into()),
        },
        sort_target: match args.take_key("sort") {
            None | Some("key") => SortTarget::Key,
            Some("version") => SortTarget::Version,
            Some("create") => SortTarget::Create,
            Some("mod") => SortTarget::Mod,
            Some("value") => SortTarget::Value,
            Some(target) => return Err(format!("unknown target {target}").into()),
        },
        min_mod_revision: amount(args, "min_mod")?,
        max_mod_revision: amount(args, "max_mod")?,
        min_create_revision: amount(args, "min_create")?,
        max_create_revision: amount(args, "max_create")?,
        ..RangeRequest::default()
    };
    flags(args, |word| {
        match word {
            "keys_only" => range.keys_only = true,
            "count_only" => range.count_only = true,
            _ => return false,
        }
        true
    })?;
    Ok(range)
}

pub(super) fn parse_compare(args: &mut ArgumentConsumer<'_>) -> Result<Compare, Fail> {
    let range_end = bytes(args.take_key("end").unwrap_or_default())?;
    let mut next = || args.next_pos().ok_or("if TARGET KEY eq|ne|lt|gt VALUE");
    let target = next()?;
    let key = bytes(next()?)?;
    let result = match next()? {
        "eq" => CompareResult::Equal,
        "ne" => CompareResult::NotEqual,
        "lt" => CompareResult::Less,
        "gt" => CompareResult::Greater,
        other => return Err(format!("unknown comparison {other}").into()),
    };
    let value = next()?;
    let target = match target {
        "version" => CompareTarget::Version(value.parse()?),
        "create" => CompareTarget::Create(value.parse()?),
        "mod" => CompareTarget::Mod(value.parse()?),
        "lease" => CompareTarget::Lease(value.parse()?),
        "value" => CompareTarget::Value(bytes(value)?),
        other => return Err(format!("unknown target {other}").into()),
    };
    Ok(Compare { key, range_end, result, target })
}
