//! What a user fixes of what seeds would draw: the scenario, the size of the clusters, the families of faults.

use chronon_sim::nearest::nearest;
use clap::Args;

use crate::{
    number::parse_replicas,
    output::Trouble,
    program::Program,
    subject::{Family, Subject},
};

/// What is fixed of each seed's draw.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Choice {
    /// The number of replicas of every cluster.
    pub replicas: Option<u8>,
    /// The names of the fault families that may be drawn; none of them if it is empty.
    pub faults: Option<Vec<String>>,
}

impl Choice {
    /// Whether everything is drawn as the scenario has it.
    pub fn is_free(&self) -> bool {
        *self == Self::default()
    }
}

/// The flags of every command that draws from seeds.
#[derive(Args, Clone, Debug)]
pub(crate) struct Flags {
    /// The scenario that seeds draw from; `list` shows them. The first of them if not given
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// Give every cluster this many replicas instead of a drawn number
    #[arg(long, value_name = "R", value_parser = parse_replicas, allow_negative_numbers = true)]
    replicas: Option<u8>,
    /// Draw from these fault families alone: names with commas between, `all`, or `none` alone; `no-NAME` takes one away
    #[arg(long, value_name = "FAMILIES")]
    faults: Option<String>,
}

/// A scenario and what is fixed of its draws.
pub(crate) struct Selection<'a> {
    pub(crate) subject: &'a dyn Subject,
    pub(crate) choice: Choice,
}

impl Flags {
    pub(crate) fn scenario(&self) -> Option<&str> {
        self.scenario.as_deref()
    }

    /// Whether no flag was given.
    pub(crate) fn is_empty(&self) -> bool {
        self.scenario.is_none() && self.replicas.is_none() && self.faults.is_none()
    }

    /// What the flags mean to this program.
    pub(crate) fn select<'a>(&self, program: &'a Program) -> Result<Selection<'a>, Trouble> {
        let subject = match &self.scenario {
            Some(name) => program.subject_of(name)?,
            None => program.default_subject()?,
        };
        let faults = self.faults.as_deref().map(|text| families(text, &subject.families())).transpose()?;
        let choice = Choice { replicas: self.replicas, faults };
        subject.check(&choice).map_err(|why| Trouble::Usage(format!("scenario {}: {why}", subject.name())))?;
        Ok(Selection { subject, choice })
    }
}

impl Selection<'_> {
    /// The flags that select this again.
    pub(crate) fn arguments(&self) -> String {
        let mut text = format!(" --scenario {}", self.subject.name());
        if let Some(replicas) = self.choice.replicas {
            text.push_str(&format!(" --replicas {replicas}"));
        }
        match self.choice.faults.as_deref() {
            None => {}
            Some([]) => text.push_str(" --faults none"),
            Some(faults) => text.push_str(&format!(" --faults {}", faults.join(","))),
        }
        text
    }
}

/// The families that `text` names, in the order of `known`.
fn families(text: &str, known: &[Family]) -> Result<Vec<String>, Trouble> {
    let all: Vec<&str> = known.iter().map(|family| family.name).collect();
    let items: Vec<&str> = text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    if items == ["none"] {
        return Ok(Vec::new());
    }
    let is_negative = |item: &&str| !all.contains(item) && item.starts_with("no-");
    // Nothing but exceptions: from all.
    let mut chosen = if !items.is_empty() && items.iter().all(is_negative) { all.clone() } else { Vec::new() };
    for item in items {
        if item == "all" {
            chosen.clone_from(&all);
        } else if item == "none" {
            return Err(Trouble::Usage("`none` among fault families: name it alone, or leave it out".to_owned()));
        } else if all.contains(&item) {
            chosen.push(item);
        } else {
            let name = item.strip_prefix("no-").unwrap_or(item);
            if !all.contains(&name) {
                let hint = nearest(name, &all).map_or(String::new(), |near| format!("did you mean `{near}`? "));
                return Err(Trouble::Usage(format!("there is no fault family `{name}`; {hint}`list` shows all")));
            }
            chosen.retain(|family| *family != name);
        }
    }
    if chosen.is_empty() {
        let why = format!("--faults \"{text}\" leaves no fault family: name one, or `none` if there is to be no fault");
        return Err(Trouble::Usage(why));
    }
    Ok(all.into_iter().filter(|name| chosen.contains(name)).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [Family; 3] = [
        Family { name: "loss", about: "" },
        Family { name: "kill", about: "" },
        Family { name: "partition", about: "" },
    ];

    fn chosen(text: &str) -> Result<Vec<String>, String> {
        families(text, &KNOWN).map_err(|trouble| trouble.to_string())
    }

    #[test]
    fn families_are_named_taken_away_or_all_or_none() {
        let all = ["loss", "kill", "partition"].map(String::from).to_vec();
        assert_eq!(chosen("all"), Ok(all.clone()));
        assert_eq!(chosen("none"), Ok(vec![]));
        assert_eq!(chosen("partition, kill,kill"), Ok(vec![all[1].clone(), all[2].clone()]));
        assert_eq!(chosen("no-kill"), Ok(vec![all[0].clone(), all[2].clone()]));
        assert_eq!(chosen("all,no-loss,no-kill"), Ok(vec![all[2].clone()]));
    }

    #[test]
    fn nobody_is_left_without_faults_who_did_not_say_so() {
        for (text, says) in [
            ("", "leaves no fault family"),
            (" , ", "leaves no fault family"),
            ("kill,no-kill", "leaves no fault family"),
            ("no-loss,no-kill,no-partition", "leaves no fault family"),
            ("all,none", "name it alone"),
            ("none,kill", "name it alone"),
        ] {
            let why = chosen(text).expect_err(text);
            assert!(why.contains(says), "{text}: {why}");
        }
    }

    #[test]
    fn an_unknown_family_is_answered_with_the_nearest() {
        let text = chosen("kill,partitoin").unwrap_err();
        assert_eq!(text, "there is no fault family `partitoin`; did you mean `partition`? `list` shows all");
        assert_eq!(chosen("no-fire").unwrap_err(), "there is no fault family `fire`; `list` shows all");
    }
}
