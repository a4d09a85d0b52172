//! `outrigger whitelist`: who may register, subscribe and edit.

use std::process::ExitCode;

use api::whitelist::{Doing, Whitelist as Words, WhitelistView, Who};
use api::{Label, ServicePattern};
use clap::{Args, Subcommand};

use super::by::By;
use crate::failed::{Failed, USAGE};

const PATH: &str = "/v1/whitelists";

/// Say who may register, subscribe and edit, by service; or look at what is said.
#[derive(Args, Debug)]
pub(crate) struct Whitelist {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    by: By,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Put one in the place of its namesake.
    Put {
        /// What it is called.
        name: Label,
        /// Which services: `*`, `*.NAMESPACE`, or one by its name.
        #[arg(long, value_name = "PATTERN")]
        services: ServicePattern,
        /// Who may register: token:NAME, address:IP/BITS, * or none; again for more.
        #[arg(long, value_name = "WHO")]
        register: Vec<String>,
        /// Who may hear of their lists.
        #[arg(long, value_name = "WHO")]
        subscribe: Vec<String>,
        /// Who may write what concerns them, beside the role that this needs.
        #[arg(long, value_name = "WHO")]
        edit: Vec<String>,
    },
    /// Show all.
    List,
    /// Take one out.
    Remove {
        /// What it is called.
        name: Label,
    },
}

impl Whitelist {
    /// Puts, lists or takes out.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        match self.what {
            What::Put { name, services, register, subscribe, edit } => {
                let [register, subscribe, edit] =
                    [("register", register), ("subscribe", subscribe), ("edit", edit)].map(whom);
                let words = Words { services, register: register?, subscribe: subscribe?, edit: edit? };
                self.by.put(PATH, &name, &words)?;
            }
            What::List => {
                let all: Vec<WhitelistView> = self.by.read(PATH)?;
                super::say(&all.iter().map(told).collect::<String>())?;
            }
            What::Remove { name } => self.by.remove(PATH, &name)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Whom an option names; nothing is said where it is left out, and `none` names nobody.
fn whom((option, words): (&str, Vec<String>)) -> Result<Option<Vec<Who>>, Failed> {
    if words.is_empty() {
        return Ok(None);
    }
    let named = words.iter().filter(|word| *word != "none");
    let wrong = |why: String| Failed::new(USAGE, format!("--{option}: {why}"));
    named.map(|word| word.parse().map_err(wrong)).collect::<Result<_, _>>().map(Some)
}

fn told(view: &WhitelistView) -> String {
    let mut text = format!("{} {}", view.name, view.words.services);
    for doing in [Doing::Register, Doing::Subscribe, Doing::Edit] {
        let Some(whom) = view.words.whom(doing) else { continue };
        let whom: Vec<String> = whom.iter().map(ToString::to_string).collect();
        let whom = if whom.is_empty() { "nobody".to_owned() } else { whom.join(", ") };
        text.push_str(&format!("; {doing}: {whom}"));
    }
    text + "\n"
}
