//! Rust text, as far as the rules have to understand it.

/// The program without its comments and literals: those turn into spaces, and lines stay lines.
pub(crate) fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = if starts(&chars, at, "//") {
            (at..chars.len()).find(|&i| chars[i] == '\n').unwrap_or(chars.len())
        } else if starts(&chars, at, "/*") {
            comment_end(&chars, at)
        } else {
            literal_end(&chars, at).unwrap_or(at)
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
        }
        while at < end.min(chars.len()) {
            out.push(if chars[at] == '\n' { '\n' } else { ' ' });
            at += 1;
        }
    }
    out
}

pub(crate) fn starts(chars: &[char], at: usize, what: &str) -> bool {
    what.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c))
}

pub(crate) fn comment_end(chars: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start + 2, 1);
    while at < chars.len() && depth > 0 {
        if starts(chars, at, "/*") {
            (at, depth) = (at + 2, depth + 1);
        } else if starts(chars, at, "*/") {
            (at, depth) = (at + 2, depth - 1);
        } else {
            at += 1;
        }
    }
    at
}

/// Where the literal that begins at `at` ends, if one begins there.
pub(crate) fn literal_end(chars: &[char], at: usize) -> Option<usize> {
    let quoted = |start: usize, quote: char| {
        let mut i = start;
        while i < chars.len() && chars[i] != quote {
            i += if chars[i] == '\\' { 2 } else { 1 };
        }
        i + 1
    };
    match chars[at] {
        '"' => Some(quoted(at + 1, '"')),
        // A lifetime has no closing quote where a character has one.
        '\'' if chars.get(at + 1) == Some(&'\\') || chars.get(at + 2) == Some(&'\'') => {
            Some(quoted(at + 1, '\''))
        }
        'r' if at == 0 || !is_word(chars[at - 1]) || matches!(chars[at - 1], 'b' | 'c') => {
            let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
            if chars.get(at + 1 + hashes) != Some(&'"') {
                return None;
            }
            let close = format!("\"{}", "#".repeat(hashes));
            let end = (at + 2 + hashes..chars.len()).find(|&i| starts(chars, i, &close));
            Some(end.map_or(chars.len(), |i| i + 1 + hashes))
        }
        _ => None,
    }
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Byte positions of `word` in `line` where it is not part of a longer name.
pub(crate) fn words<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    line.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        !line[..at].ends_with(is_word) && !line[at + word.len()..].starts_with(is_word)
    })
}

pub(crate) fn has_word(line: &str, word: &str) -> bool {
    words(line, word).next().is_some()
}

/// The number of lines before the file's own tests.
pub(crate) fn lines_before_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines.windows(2).position(|pair| {
        pair[0] == "#[cfg(test)]" && (pair[1].starts_with("mod ") || pair[1].starts_with("#["))
    });
    tests.unwrap_or(lines.len())
}

/// Lines of code before the file's own tests, counted from 0.
pub(crate) fn program(text: &str) -> Vec<(usize, String)> {
    code(text).lines().take(lines_before_tests(text)).map(str::to_string).enumerate().collect()
}
