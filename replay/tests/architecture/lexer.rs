//! Rust sources as tokens: enough of the language's lexical grammar to tell code from comments, strings and characters.
//!
//! It parses nothing: no types, no macros. A token is an identifier, a number, or one character of punctuation.

/// A piece of code, and the line that it stands on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
    pub(crate) kind: Kind,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum Kind {
    Identifier,
    Integer,
    Float,
    Punctuation,
}

/// The tokens of `source`, without its comments, strings, characters and lifetimes.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer { characters: source.chars().collect(), at: 0, line: 1, tokens: Vec::new() };
    while let Some(next) = lexer.peek(0) {
        lexer.take(next);
    }
    lexer.tokens
}

struct Lexer {
    characters: Vec<char>,
    at: usize,
    line: usize,
    tokens: Vec<Token>,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.characters.get(self.at + ahead).copied()
    }

    fn advance(&mut self) {
        if self.peek(0) == Some('\n') {
            self.line += 1;
        }
        self.at += 1;
    }

    fn push(&mut self, text: String, kind: Kind, line: usize) {
        self.tokens.push(Token { text, line, kind });
    }

    fn take(&mut self, next: char) {
        match next {
            '/' if self.peek(1) == Some('/') => self.skip_while(|character| character != '\n'),
            '/' if self.peek(1) == Some('*') => self.skip_block_comment(),
            '"' => self.skip_string(),
            '\'' => self.skip_character_or_lifetime(),
            _ if next.is_ascii_digit() => self.take_number(),
            _ if is_identifier_start(next) => self.take_identifier(),
            _ => {
                if !next.is_whitespace() {
                    self.push(next.to_string(), Kind::Punctuation, self.line);
                }
                self.advance();
            }
        }
    }

    fn skip_while(&mut self, keep: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&keep) {
            self.advance();
        }
    }

    /// Block comments nest.
    fn skip_block_comment(&mut self) {
        let mut depth = 0;
        while let Some(next) = self.peek(0) {
            match (next, self.peek(1)) {
                ('/', Some('*')) => depth += 1,
                ('*', Some('/')) => depth -= 1,
                _ => {
                    self.advance();
                    continue;
                }
            }
            self.advance();
            self.advance();
            if depth == 0 {
                return;
            }
        }
    }

    fn skip_string(&mut self) {
        self.advance();
        while let Some(next) = self.peek(0) {
            self.advance();
            match next {
                '\\' => self.advance(),
                '"' => return,
                _ => {}
            }
        }
    }

    /// After `r`, `br` or `cr`: hashes, a quote, and everything up to the quote with as many hashes.
    fn skip_raw_string(&mut self) {
        let mut hashes = 0;
        while self.peek(0) == Some('#') {
            hashes += 1;
            self.advance();
        }
        self.advance();
        while let Some(next) = self.peek(0) {
            self.advance();
            if next == '"' && (0..hashes).all(|ahead| self.peek(ahead) == Some('#')) {
                self.at += hashes;
                return;
            }
        }
    }

    /// `'a'` and `'\n'` are characters; `'a` followed by anything but a quote is a lifetime.
    fn skip_character_or_lifetime(&mut self) {
        self.advance();
        if self.peek(0) == Some('\\') {
            self.advance();
            self.advance();
            self.skip_while(|character| character != '\'');
            self.advance();
        } else if self.peek(1) == Some('\'') {
            self.advance();
            self.advance();
        } else {
            self.skip_while(is_identifier);
        }
    }

    fn take_identifier(&mut self) {
        let (start, line) = (self.at, self.line);
        self.skip_while(is_identifier);
        let text: String = self.characters[start..self.at].iter().collect();
        let opens_raw = matches!(self.peek(0), Some('"')) || (self.peek(0) == Some('#') && self.hashes_then_quote());
        match text.as_str() {
            "r" | "br" | "cr" if opens_raw => self.skip_raw_string(),
            "b" | "c" if self.peek(0) == Some('"') => self.skip_string(),
            "b" if self.peek(0) == Some('\'') => self.skip_character_or_lifetime(),
            _ => self.push(text, Kind::Identifier, line),
        }
    }

    fn hashes_then_quote(&self) -> bool {
        let mut ahead = 0;
        while self.peek(ahead) == Some('#') {
            ahead += 1;
        }
        self.peek(ahead) == Some('"')
    }

    /// A number is a float if it has a fraction, an exponent or a float's suffix. `0..9`, `1.max(2)` and `pair.0.1` have none.
    fn take_number(&mut self) {
        let (start, line) = (self.at, self.line);
        let is_field = self.tokens.last().is_some_and(|last| last.text == ".");
        self.skip_while(is_identifier);
        let mut is_float = false;
        let after_point = self.peek(1);
        if self.peek(0) == Some('.')
            && !is_field
            && after_point != Some('.')
            && !after_point.is_some_and(is_identifier_start)
        {
            is_float = true;
            self.advance();
            self.skip_while(is_identifier);
        }
        let text: String = self.characters[start..self.at].iter().collect();
        let has_radix = ["0x", "0o", "0b"].iter().any(|radix| text.starts_with(radix));
        is_float |= !has_radix && text.contains(['e', 'E', 'f']) && !text.ends_with("size");
        self.push(text, if is_float { Kind::Float } else { Kind::Integer }, line);
    }
}

fn is_identifier_start(character: char) -> bool {
    character == '_' || character.is_alphabetic()
}

fn is_identifier(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

fn texts(source: &str) -> Vec<String> {
    tokens(source).into_iter().map(|token| token.text).collect()
}

fn floats(source: &str) -> Vec<String> {
    tokens(source).into_iter().filter(|token| token.kind == Kind::Float).map(|token| token.text).collect()
}

#[test]
fn comments_strings_characters_and_lifetimes_are_no_code() {
    assert_eq!(texts("a // b\n/* c /* d */ e */ f"), ["a", "f"]);
    assert_eq!(texts(r#"a("b \" c", 'd', '\'', b'e', '\u{41}') + b"f""#), ["a", "(", ",", ",", ",", ",", ")", "+"]);
    assert_eq!(texts("r#\"a \" b\"# c r\"d\" e br##\"f\"# g\"## h"), ["c", "e", "h"]);
    assert_eq!(texts("fn f<'a>(x: &'a u8)"), ["fn", "f", "<", ">", "(", "x", ":", "&", "u8", ")"]);
    assert_eq!(texts("r#type"), ["r", "#", "type"]);
}

#[test]
fn lines_are_counted_through_comments_and_strings() {
    let tokens = tokens("/* 1\n2 */ \"3\n4\"\nfive r\"5\n6\" six");
    assert_eq!(tokens.iter().map(|token| token.line).collect::<Vec<_>>(), [4, 5]);
}

#[test]
fn floats_are_told_from_ranges_methods_and_fields() {
    assert_eq!(floats("1.5 1. 1e9 2E-3 3f64 4_f32 5.0f32"), ["1.5", "1.", "1e9", "2E", "3f64", "4_f32", "5.0f32"]);
    assert_eq!(floats("0..9 0..=9 1.max(2) pair.0.1 0xfe 0xe 0b1 7_usize 8isize 9u64"), [""; 0]);
}
