//! `outrigger token`: who may write to the control plane.

use std::process::ExitCode;

use api::access::{Role, TokenMade, TokenWords};
use api::{Label, Namespace};
use clap::{Args, Subcommand};

use super::by::By;
use crate::failed::Failed;

const PATH: &str = "/v1/tokens";

/// Make, list or take back tokens. The first one closes the operators' listener to everybody without one.
#[derive(Args, Debug)]
pub(crate) struct Token {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    by: By,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make one; its secret is printed this once.
    Create {
        /// Its name: the author of what its holder writes.
        name: Label,
        /// reader, editor or admin.
        #[arg(long)]
        role: Role,
        /// Where; everywhere when left out.
        #[arg(long = "in", value_name = "NAMESPACE")]
        namespaces: Vec<Namespace>,
    },
    /// Show all, without their secrets.
    List,
    /// Take one back.
    Revoke {
        /// Its name.
        name: Label,
    },
}

impl Token {
    /// Makes, lists or takes back.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        match self.what {
            What::Create { name, role, namespaces } => {
                let words = TokenWords { name, role, namespaces };
                let made: TokenMade = self.by.write(("POST", PATH), &words)?.json()?;
                super::say(&format!("{}\n", made.secret))?;
            }
            What::List => {
                let tokens: Vec<TokenWords> = self.by.read(PATH)?;
                super::say(&tokens.iter().map(told).collect::<String>())?;
            }
            What::Revoke { name } => self.by.remove(PATH, &name)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn told(token: &TokenWords) -> String {
    let spaces: Vec<&str> = token.namespaces.iter().map(Namespace::as_str).collect();
    let spaces = if spaces.is_empty() { "all namespaces".to_owned() } else { spaces.join(", ") };
    format!("{} {} of {spaces}\n", token.name, token.role)
}
