//! "Did you mean": the closest known word, and the table a key belongs in.

use super::{Key, TableKeys};

/// The known word that `word` is most likely a slip of: at most a third of its letters differ
/// (always one), a swap of neighbours counting as one. Of two as near, the one that begins alike.
pub fn closest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // A long word is no slip of any key, and distance is quadratic.
    if word.is_empty() || word.len() > 128 {
        return None;
    }
    let allowed = (word.chars().count() / 3).clamp(1, 4);
    known
        .into_iter()
        .map(|name| (distance(&word.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(far, _)| *far <= allowed)
        .min_by_key(|(far, name)| {
            let alike = name.chars().zip(word.chars()).take_while(|(a, b)| a == b).count();
            (*far, std::cmp::Reverse(alike))
        })
        .map(|(_, name)| name)
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
