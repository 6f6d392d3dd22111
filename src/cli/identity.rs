//! `dosimeter resolve` and `dosimeter forget`: from a pseudonym back to an id, and never again.

use clap::Args;

use super::{Coded, ConfigArg, PersonArgs, show, with_app};
use crate::config::CaseIds;
use crate::store::identifier::Resolved;

/// No id is kept for a pseudonym.
const UNKNOWN: u8 = 3;
/// The id was erased.
const ERASED: u8 = 4;

#[derive(Debug, Args)]
pub(super) struct PseudonymArgs {
    /// The pseudonym, as questions, lists and the review of cases show it.
    pseudonym: String,
    #[command(flatten)]
    config: ConfigArg,
    #[command(flatten)]
    person: PersonArgs,
}

fn unknown(case_ids: CaseIds, resolvable: bool, pseudonym: &str) -> Coded {
    let why = match (case_ids, resolvable) {
        (CaseIds::Pseudonym, _) => "; identity.case_ids is \"pseudonym\", so ids are what the senders wrote",
        (CaseIds::Hash, false) => "; identity.resolvable is false, so none is kept",
        (CaseIds::Hash, true) => "; no record has brought it",
    };
    Coded { code: UNKNOWN, message: format!("no id is kept for {pseudonym}{why}") }
}

pub(super) fn resolve(args: PseudonymArgs) -> anyhow::Result<()> {
    with_app(&args.config, async move |app| {
        let (context, person) = (app.context(), args.person.person()?);
        let (by, reason) = person.words();
        let pseudonym = args.pseudonym.trim();
        match context.store.resolve(pseudonym, by, reason, context.clock.now()).await? {
            Resolved::Id(kind, id) => {
                println!("{} {}", kind.as_str(), id.expose());
                Ok(())
            }
            Resolved::Erased(kind, at) => {
                let message = format!("the {} behind {pseudonym} was erased at {}", kind.as_str(), show::minute(at));
                Err(Coded { code: ERASED, message }.into())
            }
            Resolved::Unknown => {
                let identity = &context.plan.identity;
                Err(unknown(identity.case_ids, identity.resolvable, pseudonym).into())
            }
        }
    })
}

pub(super) fn forget(args: PseudonymArgs) -> anyhow::Result<()> {
    with_app(&args.config, async move |app| {
        let (context, person) = (app.context(), args.person.person()?);
        let (by, reason) = person.words();
        let pseudonym = args.pseudonym.trim();
        if !context.store.erase_identifier(pseudonym, by, reason, context.clock.now()).await? {
            let message = format!("no id is kept for {pseudonym}, or it was erased before");
            return Err(Coded { code: UNKNOWN, message }.into());
        }
        println!("{pseudonym}: its id is erased");
        Ok(())
    })
}
