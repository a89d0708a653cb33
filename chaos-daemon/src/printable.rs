//! Text that others chose, without anything that a terminal would obey.
//!
//! Runtimes and the kernel take nearly any text for a name, whoever may start a container chooses one, and experiment
//! files are passed around. What must stay true: none of it reaches a person as a control character, so that it cannot
//! clear the screen or forge a line of a result.

/// The text with its control characters written out: "\\n", "\\u{1b}".
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn control_characters_are_written_out_and_nothing_else() {
        assert_eq!("\\u{1b}[2Jx\\n\\u{7}\\u{9b}", printable("\u{1b}[2Jx\n\u{7}\u{9b}"));
        for plain in ["", "größer als 5 %", "a\\b \"c\""] {
            assert_eq!(plain, printable(plain));
        }
    }
}
