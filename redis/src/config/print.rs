//! The effective settings as a configuration file.
//!
//! The output is valid TOML that [`super::load()`] reads back to the same values, with the help
//! text above and the source behind each of them. A password is the one thing that is not written:
//! its line is a comment.

use super::load::{Setting, Settings};
use super::options::OptionGroup;
use super::source::Source;
use super::value::{OptionKind, OptionValue};

/// Writes `settings` as TOML.
#[must_use]
pub fn print(settings: &Settings) -> String {
    let mut out = String::from("# NeoKV configuration: neokv --config THIS_FILE\n");
    for group in OptionGroup::ALL {
        out.push_str(&format!("\n# {}\n[{}]\n", group.heading(), group.section()));
        for setting in settings.list.iter().filter(|setting| setting.option.group == group) {
            out.push_str(&line(setting));
        }
    }
    out
}

fn line(setting: &Setting) -> String {
    let option = setting.option;
    let source = match &setting.source {
        Source::Default => String::new(),
        other => format!("   # from {other}"),
    };
    let value = toml_value(option.kind, &setting.value);
    // What must not be written down, and what has no spelling but its absence, stays a comment.
    let mark = if matches!(setting.value, OptionValue::Secret(_)) { "# " } else { "" };
    let meanings = match option.kind {
        OptionKind::Word(choices) => {
            choices.iter().filter(|(_, meaning)| !meaning.is_empty()).collect()
        }
        _ => Vec::new(),
    };
    let meanings: String =
        meanings.into_iter().map(|(word, meaning)| format!("#   {word}: {meaning}\n")).collect();
    let (help, name) = (wrap(option.help), option.name);
    format!(
        "\n{help}{meanings}# Allowed: {}.\n{mark}{name} = {value}{source}\n",
        option.kind.allowed()
    )
}

/// The text as comment lines of at most 100 columns.
fn wrap(text: &str) -> String {
    let (mut out, mut width) = (String::from("#"), 1);
    for word in text.split(' ') {
        if width + 1 + word.len() > 100 {
            out.push_str("\n#");
            width = 1;
        }
        out.push(' ');
        out.push_str(word);
        width += 1 + word.len();
    }
    out.push('\n');
    out
}

fn toml_value(kind: OptionKind, value: &OptionValue) -> String {
    match value {
        OptionValue::Flag(flag) => flag.to_string(),
        OptionValue::Number(number) if matches!(kind, OptionKind::Count { .. }) => {
            number.to_string()
        }
        OptionValue::Addresses(addresses) => {
            let quoted: Vec<String> =
                addresses.iter().map(|address| quote(&address.to_string())).collect();
            format!("[{}]", quoted.join(", "))
        }
        _ => quote(&kind.text(value)),
    }
}

fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
