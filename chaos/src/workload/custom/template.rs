//! Texts with placeholders for numbers. Not here: the file they stand in.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::scenario::Range;
use crate::seed::Chance;

/// A text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Number { what: Source, form: Form },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Client,
    Count,
    Random(Range),
    Drawn(String),
}

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Decimal,
    /// Two hexadecimal digits for each ASCII digit.
    Ascii,
    /// So many bytes, little-endian, in hexadecimal.
    Little(usize),
}

/// The numbers of one operation.
pub(super) struct Numbers<'a> {
    client: u64,
    count: u64,
    drawn: BTreeMap<&'a str, u64>,
    chance: &'a mut Chance,
}

impl<'a> Numbers<'a> {
    pub(super) fn new(
        client: u64,
        count: u64,
        chance: &'a mut Chance,
        draw: &'a BTreeMap<String, Range>,
    ) -> Numbers<'a> {
        let mut drawn = BTreeMap::new();
        for (name, range) in draw {
            drawn.insert(name.as_str(), chance.between(range.low, range.high));
        }
        Numbers { client, count, drawn, chance }
    }

    fn of(&mut self, source: &Source) -> u64 {
        match source {
            Source::Client => self.client,
            Source::Count => self.count,
            Source::Random(range) => self.chance.between(range.low, range.high),
            Source::Drawn(name) => self.drawn[name.as_str()],
        }
    }
}

impl Template {
    /// Reads `text`; `hex`: placeholders stand for hexadecimal digits.
    pub(super) fn parse(
        text: &str,
        draw: &BTreeMap<String, Range>,
        hex: bool,
    ) -> Result<Template, String> {
        let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(letter) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix("{{").or(rest.strip_prefix("}}")) {
                plain.push(letter);
                rest = after;
            } else if letter == '{' {
                let inside = rest[1..].split_once('}');
                let (inside, after) = inside.ok_or_else(|| format!("\"{text}\": {{ without }}"))?;
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(placeholder(inside, draw, hex)?);
                rest = after;
            } else if letter == '}' {
                return Err(format!("\"{text}\": }} without {{"));
            } else {
                plain.push(letter);
                rest = &rest[letter.len_utf8()..];
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Template(pieces))
    }

    /// The text with the numbers of one operation.
    pub(super) fn text(&self, numbers: &mut Numbers<'_>) -> String {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Number { what, form } => written(numbers.of(what), *form),
        });
        pieces.collect()
    }

    /// The number, if the whole text is one placeholder.
    fn number(&self, numbers: &mut Numbers<'_>) -> Option<u64> {
        match &self.0[..] {
            [Piece::Number { what, .. }] => Some(numbers.of(what)),
            _ => None,
        }
    }
}

fn placeholder(text: &str, draw: &BTreeMap<String, Range>, hex: bool) -> Result<Piece, String> {
    let (name, form) = match text.split_once(':') {
        None => (text, if hex { Form::Ascii } else { Form::Decimal }),
        Some((name, width)) => {
            let bytes = match width {
                "u8" => 1,
                "u16" => 2,
                "u32" => 4,
                "u64" => 8,
                _ => return Err(format!("{{{text}}}: \"{width}\" is none of u8, u16, u32, u64")),
            };
            if !hex {
                return Err(format!("{{{text}}}: \":{width}\" has a meaning in hex only"));
            }
            (name, Form::Little(bytes))
        }
    };
    let what = match name {
        "client" => Source::Client,
        "n" => Source::Count,
        _ if draw.contains_key(name) => Source::Drawn(name.to_owned()),
        _ => Source::Random(random(name).ok_or_else(|| {
            format!("{{{text}}} is none of {{client}}, {{n}}, {{random 1..9}} and what draw names")
        })?),
    };
    Ok(Piece::Number { what, form })
}

fn random(text: &str) -> Option<Range> {
    let (low, high) = text.strip_prefix("random ")?.split_once("..")?;
    Range::try_from([low.trim().parse().ok()?, high.trim().parse().ok()?]).ok()
}

fn written(number: u64, form: Form) -> String {
    let digits = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    match form {
        Form::Decimal => number.to_string(),
        Form::Ascii => digits(number.to_string().as_bytes()),
        Form::Little(bytes) => digits(&number.to_le_bytes()[..bytes]),
    }
}

/// What is sent.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Payload {
    Text(Template),
    Hex(Template),
    Json(Json),
}

/// JSON whose texts are templates.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Plain(Value),
    Text(Template),
    List(Vec<Json>),
    Table(Vec<(String, Json)>),
}

impl Payload {
    pub(super) fn json(value: Value, draw: &BTreeMap<String, Range>) -> Result<Payload, String> {
        Ok(Payload::Json(Json::parse(value, draw)?))
    }

    /// Whether all that it can become can be sent; only hexadecimal can fail to.
    pub(super) fn check(&self) -> Result<(), String> {
        let Payload::Hex(Template(pieces)) = self else { return Ok(()) };
        for piece in pieces {
            if let Piece::Text(text) = piece
                && unhex(text).is_none()
            {
                return Err(format!("hex: \"{text}\" is not pairs of hexadecimal digits"));
            }
        }
        Ok(())
    }

    pub(super) fn bytes(&self, numbers: &mut Numbers<'_>) -> Vec<u8> {
        match self {
            Payload::Text(template) => template.text(numbers).into_bytes(),
            Payload::Hex(template) => {
                unhex(&template.text(numbers)).expect("each piece was checked")
            }
            Payload::Json(json) => json.value(numbers).to_string().into_bytes(),
        }
    }
}

impl Json {
    fn parse(value: Value, draw: &BTreeMap<String, Range>) -> Result<Json, String> {
        Ok(match value {
            Value::String(text) => Json::Text(Template::parse(&text, draw, false)?),
            Value::Array(values) => {
                let parsed = values.into_iter().map(|value| Json::parse(value, draw));
                Json::List(parsed.collect::<Result<_, _>>()?)
            }
            Value::Object(table) => {
                let parsed = table
                    .into_iter()
                    .map(|(key, value)| Ok::<_, String>((key, Json::parse(value, draw)?)));
                Json::Table(parsed.collect::<Result<_, _>>()?)
            }
            plain => Json::Plain(plain),
        })
    }

    fn value(&self, numbers: &mut Numbers<'_>) -> Value {
        match self {
            Json::Plain(value) => value.clone(),
            Json::Text(template) => match template.number(numbers) {
                Some(number) => Value::from(number),
                None => Value::from(template.text(numbers)),
            },
            Json::List(values) => values.iter().map(|value| value.value(numbers)).collect(),
            Json::Table(table) => {
                table.iter().map(|(key, value)| (key.clone(), value.value(numbers))).collect()
            }
        }
    }
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = (0..digits.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok()).collect()
}
