//! A configuration file, from TOML to settings.

use core::ops::ControlFlow;

use toml_parser::decoder::{Encoding, ScalarKind};
use toml_parser::lexer::Token;
use toml_parser::parser::{EventReceiver, RecursionGuard, ValidateWhitespace, parse_document};
use toml_parser::{ErrorSink, ParseError, Source, Span};

use super::schema::{Known, Table, table};
use super::value::{self, Expected, Form, List};
use super::{ConfigError, Key};
use crate::prefix::Prefix;
use crate::settings::{Layer, Rule, Settings, TimesPatch};
use crate::text::Text;

/// Octets of the longest file that is read.
pub const SOURCE_MAX: usize = 64 * 1024;
/// Tokens of the longest file that is read.
pub const TOKENS: usize = 8192;
/// Nesting that is read; nothing here nests deeper than a list in a table.
const DEPTH: u32 = 16;

const KEY_ONCE: Expected = "each key once";
const TABLE_ONCE: Expected = "each table once";
const KNOWN_TABLE: Expected = "[resolve], [times], [daemon], [log], [[prefix]], [[responder]], \
                               [[binding]] or [agent]";
const KNOWN_KEY: Expected = "a key that this table has (docs/configuration.md)";
const IN_TABLE: Expected = "keys inside a table, such as [resolve]";
const RULES_MAX: Expected = "at most 16 [[prefix]] tables";
const RULE_PREFIX: Expected = "a key `prefix` in every [[prefix]]";
const SHORTER: Expected = "a shorter file: 64 KiB and 8192 tokens at the most";
const TOML: Expected = "TOML";

/// A token to fill the room for tokens with, which the caller places.
///
/// # Panics
/// Never: an empty source has one token, its end.
#[must_use]
pub fn end_token() -> Token {
    Source::new("")
        .lex()
        .next()
        .expect("every source ends with a token")
}

/// Reads a configuration file into `settings`.
///
/// # Errors
/// The first thing that is wrong. `settings` then holds a part of the file, and
/// must not be used.
pub fn read_document(
    settings: &mut Settings,
    layer: Layer,
    text: &str,
    tokens: &mut [Token],
) -> Result<(), ConfigError> {
    let source = Source::new(text);
    let error = |line, expected| ConfigError {
        line,
        key: Text::new(),
        expected,
        found: Text::new(),
    };
    if text.len() > SOURCE_MAX {
        return Err(error(0, SHORTER));
    }
    let mut count = 0;
    for token in source.lex() {
        *tokens.get_mut(count).ok_or(error(0, SHORTER))? = token;
        count += 1;
    }
    let mut reader = Reader {
        source,
        settings,
        layer,
        place: Place::Outside,
        seen_tables: 0,
        seen_keys: 0,
        header: None,
        path: Path::default(),
        rule: 0,
        list: None,
        depth: 0,
        outcome: ControlFlow::Continue(()),
    };
    let mut syntax: Option<ParseError> = None;
    {
        let mut whitespace = ValidateWhitespace::new(&mut reader, source);
        let mut guarded = RecursionGuard::new(&mut whitespace, DEPTH);
        parse_document(&tokens[..count], &mut guarded, &mut syntax);
    }
    reader.finish_rule();
    let outcome = reader.outcome;
    if let Some(syntax) = syntax {
        let span = syntax.unexpected().or(syntax.context());
        let line = span.map_or(0, |span| line_of(text, span.start()));
        let mut found = Text::new();
        found.push(syntax.description());
        return Err(ConfigError {
            found,
            ..error(line, TOML)
        });
    }
    match outcome {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

fn line_of(text: &str, at: usize) -> u32 {
    let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|octet| **octet == b'\n').count() as u32
}

/// The parts of a dotted key.
#[derive(Debug, Clone, Copy, Default)]
struct Path {
    parts: [Text<32>; 2],
    len: usize,
}

impl Path {
    fn push(&mut self, part: Text<32>) {
        if let Some(room) = self.parts.get_mut(self.len) {
            *room = part;
        }
        self.len += 1;
    }
}

/// Where in the document the reader is.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Before the first table.
    Outside,
    /// In a table, with no key read yet.
    In(Table),
    /// Behind a key of the resolving layer.
    Own(Table, Key),
    /// Behind a key of another part, whose value is not looked at.
    Foreign(Table),
}

struct Reader<'s, 'c> {
    source: Source<'s>,
    settings: &'c mut Settings,
    layer: Layer,
    place: Place,
    seen_tables: u32,
    seen_keys: u32,
    /// Inside a header: whether it has double brackets.
    header: Option<bool>,
    path: Path,
    /// The number of `[[prefix]]` tables so far.
    rule: usize,
    list: Option<List>,
    depth: u32,
    outcome: ControlFlow<ConfigError>,
}

impl Reader<'_, '_> {
    fn fail(&mut self, at: Span, key: Text<64>, expected: Expected) {
        if self.outcome.is_continue() {
            let found = self.source.input().get(at.start()..at.end());
            // Where the key itself is wrong, the sign behind it says nothing.
            let found = found.filter(|found| *found != "=").unwrap_or("");
            self.outcome = ControlFlow::Break(ConfigError {
                line: line_of(self.source.input(), at.start()),
                key,
                expected,
                found: Text::from(found),
            });
        }
    }

    /// The key that a complaint is about.
    fn key_name(&self) -> Text<64> {
        let mut name = Text::new();
        if let Place::In(table) | Place::Own(table, _) | Place::Foreign(table) = self.place {
            name.push(table.name());
            name.push(".");
        }
        for (number, part) in self.path.parts.iter().take(self.path.len).enumerate() {
            name.push(if number > 0 { "." } else { "" });
            name.push(part.as_str());
        }
        name
    }

    fn open_header(&mut self, array: bool) {
        self.finish_rule();
        self.header = Some(array);
        self.path = Path::default();
    }

    fn close_header(&mut self, span: Span) {
        let array = self.header.take() == Some(true);
        self.place = Place::Outside;
        let named = self.key_name();
        let path = core::mem::take(&mut self.path);
        let known = table(path.parts[0].as_str(), array).filter(|_| path.len == 1);
        let Some(known) = known else {
            return self.fail(span, named, KNOWN_TABLE);
        };
        if !known.is_array() && !self.first_sight_of_table(known) {
            return self.fail(span, Text::from(known.name()), TABLE_ONCE);
        }
        self.seen_keys = 0;
        self.place = Place::In(known);
        if known == Table::Rule {
            let rules = &mut self.settings.rules.rules;
            // Files of several layers may each have such tables.
            let free = rules.iter().position(Option::is_none);
            let Some(free) = free else {
                return self.fail(span, Text::from("prefix"), RULES_MAX);
            };
            let nowhere = Prefix::host(core::net::Ipv6Addr::UNSPECIFIED);
            let times = TimesPatch::default();
            rules[free] = Some(Rule {
                prefix: nowhere,
                trusted: None,
                methods: None,
                times,
            });
            self.rule = free;
        }
    }

    fn first_sight_of_table(&mut self, table: Table) -> bool {
        let bit = match table.name() {
            "resolve" => 1,
            "times" => 2,
            "daemon" => 4,
            "log" => 8,
            _ => 16,
        };
        let first = self.seen_tables & bit == 0;
        self.seen_tables |= bit;
        first
    }

    /// A `[[prefix]]` without its prefix is an error.
    fn finish_rule(&mut self) {
        if let Place::In(Table::Rule) | Place::Own(Table::Rule, _) = self.place {
            let named = Table::Rule.key("prefix");
            if let Some(Known::Own(_, place)) = named
                && self.seen_keys & (1 << place) == 0
            {
                let end = self.source.input().len();
                self.path = Path::default();
                let at = Span::new_unchecked(end, end);
                self.fail(at, Text::from("prefix.prefix"), RULE_PREFIX);
            }
        }
    }

    fn close_key(&mut self, span: Span) {
        let table = match self.place {
            Place::In(table) | Place::Own(table, _) | Place::Foreign(table) => table,
            Place::Outside => return self.fail(span, self.key_name(), IN_TABLE),
        };
        self.place = Place::In(table);
        let known = table.key(self.path.parts[0].as_str());
        let Some(known) = known.filter(|known| {
            // A key of another part may be a table of its own.
            self.path.len == 1 || matches!(known, Known::Foreign(_))
        }) else {
            return self.fail(span, self.key_name(), KNOWN_KEY);
        };
        let (Known::Own(_, place) | Known::Foreign(place)) = known;
        if self.seen_keys & (1 << place) != 0 && self.path.len == 1 {
            return self.fail(span, self.key_name(), KEY_ONCE);
        }
        self.seen_keys |= 1 << place;
        self.place = match known {
            Known::Own(key, _) => Place::Own(table, key),
            Known::Foreign(_) => Place::Foreign(table),
        };
    }

    /// The value is there: whatever comes next is a key.
    fn close_value(&mut self) {
        if let Place::Own(table, _) | Place::Foreign(table) = self.place {
            self.place = Place::In(table);
        }
        self.path = Path::default();
    }

    fn read_scalar(&mut self, span: Span, encoding: Option<Encoding>) {
        let Place::Own(table, key) = self.place else {
            return;
        };
        let Some(raw) = self.source.get(span) else {
            return;
        };
        let raw = toml_parser::Raw::new_unchecked(raw.as_str(), encoding, span);
        let mut text = Text::<256>::new();
        let mut broken = None;
        let kind = raw.decode_scalar(&mut text, &mut broken);
        let (form, expected) = value::form(key);
        let wanted = match form {
            Form::List | Form::Text => ScalarKind::String,
            Form::Boolean => ScalarKind::Boolean(text.as_str() == "true"),
            Form::Number => ScalarKind::Integer(toml_parser::decoder::IntegerRadix::Dec),
        };
        let in_list = self.list.is_some();
        let fits = kind == wanted && broken.is_none() && !text.is_cut();
        if !fits || (form == Form::List) != in_list {
            return self.fail(span, self.key_name(), expected);
        }
        let applied = match (&mut self.list, table) {
            (Some(list), _) => list.push(text.as_str()),
            (None, Table::Rule) => match &mut self.settings.rules.rules[self.rule] {
                Some(rule) => value::apply_rule_text(rule, key, text.as_str()),
                None => Ok(()),
            },
            (None, _) => value::apply_text(self.settings, self.layer, key, text.as_str()),
        };
        if let Err(expected) = applied {
            self.fail(span, self.key_name(), expected);
        }
    }

    fn close_list(&mut self, span: Span) {
        let (Place::Own(table, key), Some(list)) = (self.place, self.list.take()) else {
            return;
        };
        let applied = match (table, &mut self.settings.rules.rules[self.rule]) {
            (Table::Rule, Some(rule)) => value::apply_rule_list(rule, key, &list),
            _ => value::apply_list(self.settings, self.layer, key, &list),
        };
        if let Err(expected) = applied {
            self.fail(span, self.key_name(), expected);
        }
    }
}

impl EventReceiver for Reader<'_, '_> {
    fn std_table_open(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.open_header(false);
    }

    fn std_table_close(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.close_header(span);
    }

    fn array_table_open(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.open_header(true);
    }

    fn array_table_close(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.close_header(span);
    }

    fn simple_key(&mut self, span: Span, encoding: Option<Encoding>, error: &mut dyn ErrorSink) {
        // A key inside an inline table, which only other parts have.
        if self.depth > 0 {
            return;
        }
        if let Some(raw) = self.source.get(span) {
            let raw = toml_parser::Raw::new_unchecked(raw.as_str(), encoding, span);
            let mut part = Text::new();
            raw.decode_key(&mut part, error);
            self.path.push(part);
        }
    }

    fn key_val_sep(&mut self, span: Span, _: &mut dyn ErrorSink) {
        if self.depth == 0 {
            self.close_key(span);
        }
    }

    fn array_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        self.depth += 1;
        if let Place::Own(_, key) = self.place {
            if self.depth > 1 || value::form(key).0 != Form::List {
                self.fail(span, self.key_name(), value::form(key).1);
            } else {
                self.list = List::of(key);
            }
        }
        true
    }

    fn array_close(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.depth = self.depth.saturating_sub(1);
        if self.depth == 0 {
            self.close_list(span);
            self.close_value();
        }
    }

    fn inline_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        self.depth += 1;
        if let Place::Own(_, key) = self.place {
            self.fail(span, self.key_name(), value::form(key).1);
        }
        true
    }

    fn inline_table_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.depth = self.depth.saturating_sub(1);
        if self.depth == 0 {
            self.close_value();
        }
    }

    fn scalar(&mut self, span: Span, encoding: Option<Encoding>, _: &mut dyn ErrorSink) {
        self.read_scalar(span, encoding);
        if self.depth == 0 {
            self.close_value();
        }
    }
}

#[cfg(test)]
mod tests;
