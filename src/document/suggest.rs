//! "Did you mean": the closest known word, and the table a key belongs in.

use super::{Key, TableKeys};

/// The known word that `word` is most likely a slip of: at most a third of its letters differ
/// (always one), a swap of neighbours counting as one. Of two as near, the one that begins alike.
pub fn closest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // A long word is no slip of any key, and distance is quadratic.
    if word.is_empty() || word.len() > 128 {
        return None;
    }
    let letters = word.chars().count();
    let allowed = (letters / 3).clamp(1, 4);
    let (word, mask) = (word.to_lowercase(), mask(word));
    known
        .into_iter()
        // There may be thousands: most are ruled out by what they are made of.
        .filter(|name| name.chars().count().abs_diff(letters) <= allowed)
        .filter(|name| (self::mask(name) ^ mask).count_ones() as usize <= 2 * allowed)
        .map(|name| (distance(&word, &name.to_lowercase()), name))
        .filter(|(far, _)| *far <= allowed)
        .min_by_key(|(far, name)| {
            let alike = name.chars().zip(word.chars()).take_while(|(a, b)| a == b).count();
            (*far, std::cmp::Reverse(alike))
        })
        .map(|(_, name)| name)
}

/// Which letters and digits a word has, whatever their case: a bit each. A slip changes two at most.
fn mask(word: &str) -> u64 {
    let bit = |byte: u8| match byte.to_ascii_lowercase() {
        letter @ b'a'..=b'z' => letter - b'a',
        digit @ b'0'..=b'9' => 26 + digit - b'0',
        // What is left is rare in names.
        _ => 36,
    };
    word.bytes().fold(0, |mask, byte| mask | 1 << bit(byte))
}

/// Names that are listed where none is near.
const LISTED: usize = 10;

/// What to write in the place of a name nobody knows: "did you mean `b`?", or what there is: "there
/// is a, b and 3 more".
pub fn instead<'k>(word: &str, known: impl IntoIterator<Item = &'k str> + Clone) -> String {
    if let Some(near) = closest(word, known.clone()) {
        return format!("did you mean `{near}`?");
    }
    let mut names = known.into_iter();
    let listed: Vec<&str> = names.by_ref().take(LISTED).collect();
    let more = names.count();
    match (listed.len(), more) {
        (0, _) => "there is none at all".to_owned(),
        (_, 0) => format!("there is {}", listed.join(", ")),
        (_, more) => format!("there is {} and {more} more", listed.join(", ")),
    }
}

/// Optimal string alignment: insertions, deletions, replacements and swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<_>, Vec<_>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// The tables other than `here` that know `key`, in the order of the language.
pub(super) fn homes(root: &'static TableKeys, here: &TableKeys, key: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    walk(root, &mut |keys| {
        if !std::ptr::eq(keys, here)
            && keys.keys.iter().any(|known| known.name == key)
            && !found.contains(&keys.name)
        {
            found.push(keys.name);
        }
    });
    found
}

/// Calls `visit` once for every table of the language, outer ones first.
pub(super) fn walk(root: &'static TableKeys, visit: &mut impl FnMut(&'static TableKeys)) {
    fn go(
        keys: &'static TableKeys,
        seen: &mut Vec<*const TableKeys>,
        visit: &mut impl FnMut(&'static TableKeys),
    ) {
        // Several keys may take the same table, such as a delay.
        if seen.iter().any(|seen| std::ptr::eq(*seen, keys)) {
            return;
        }
        seen.push(keys);
        visit(keys);
        for inner in keys.keys.iter().filter_map(|Key { value, .. }| value.keys()) {
            go(inner, seen, visit);
        }
    }
    go(root, &mut Vec::new(), visit);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_listed_up_to_ten() {
        let names: Vec<String> = (0..12).map(|n| format!("route-{n}")).collect();
        let known = |n: usize| names[..n].iter().map(String::as_str);
        assert_eq!(instead("x", known(0)), "there is none at all");
        assert_eq!(instead("x", known(2)), "there is route-0, route-1");
        assert!(instead("x", known(12)).ends_with("route-9 and 2 more"));
        assert_eq!(instead("rotue-1", known(3)), "did you mean `route-1`?");
    }

    #[test]
    fn slips_are_recognised() {
        let known = ["probability", "routes", "enabled", "every", "limit"];
        assert_eq!(closest("probabilty", known), Some("probability"));
        assert_eq!(closest("route", known), Some("routes"));
        assert_eq!(closest("Enabled", known), Some("enabled"));
        assert_eq!(closest("limti", known), Some("limit"));
        assert_eq!(closest("of", ["on", "off"]), Some("off"));
        assert_eq!(closest("colour", known), None);
        assert_eq!(closest("", known), None);
    }
}
