//! A planted bug: a patch whose text before the first `diff --git` is its story.

use std::{
    fs,
    path::{Path, PathBuf},
};

use chronon_sim::nearest::nearest;

use crate::{file, output::Trouble};

/// A planted bug.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Patch {
    pub(super) path: PathBuf,
    pub(super) number: String,
    pub(super) slug: String,
    /// The scenario that finds it, if its story names one.
    pub(super) scenario: Option<String>,
}

/// The patches in a folder by name, all of them or the one that is named.
pub(super) fn select(folder: &Path, only: Option<&str>) -> Result<Vec<Patch>, Trouble> {
    let entries = fs::read_dir(folder)
        .map_err(|error| Trouble::Infrastructure(format!("{} cannot be read: {error}", folder.display())))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    paths.sort();
    let mut patches = paths.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    if let Some(only) = only {
        let slugs: Vec<String> = patches.iter().map(|patch| patch.slug.clone()).collect();
        let is_named = |patch: &Patch| {
            only == patch.slug || only == patch.number || only == format!("{}-{}", patch.number, patch.slug)
        };
        patches.retain(is_named);
        if patches.is_empty() {
            let slugs: Vec<&str> = slugs.iter().map(String::as_str).collect();
            let hint = nearest(only, &slugs).map_or(String::new(), |near| format!("did you mean `{near}`? "));
            return Err(Trouble::Usage(format!("there is no mutant `{only}`; {hint}there are {}", slugs.join(", "))));
        }
    }
    if patches.is_empty() {
        return Err(Trouble::Usage(format!("{} holds no NN-slug.patch; plant a bug first", folder.display())));
    }
    Ok(patches)
}

fn read(path: PathBuf) -> Result<Patch, Trouble> {
    let wrong = |why: &str| Trouble::Usage(format!("{}: {why}", path.display()));
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let is_number = |number: &str| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let (number, slug) = name
        .split_once('-')
        .filter(|(number, _)| is_number(number))
        .ok_or_else(|| wrong("the name of a mutant is NN-slug.patch; rename it"))?;
    let text = file::read_text(&path, &file::PATCH, "a mutant is a patch")?;
    let (story, _) =
        text.split_once("diff --git ").ok_or_else(|| wrong("it holds no `diff --git`; make it with git diff"))?;
    if story.trim().is_empty() {
        return Err(wrong("a mutant begins with its story; write what is planted and why it matters"));
    }
    let scenario = story.lines().find_map(|line| line.strip_prefix("Scenario:")).map(|name| name.trim().to_owned());
    Ok(Patch { number: number.to_owned(), slug: slug.to_owned(), scenario, path: path.clone() })
}
