//! `platform whoami`.

use super::args::Globals;
use super::failure::{Exit, Failure};
use super::portal::Portal;
use super::print::{Out, clean};
use super::wording;
use crate::api::types::WhoAmI;

pub async fn run(globals: &Globals) -> Result<Exit, Failure> {
    let portal = Portal::of(globals)?;
    let me: WhoAmI = portal.get(portal.url(&["whoami"])).await?;
    Out::new(globals).value(&me, |paint| {
        let rows = wording::who_am_i(&me, &portal.name());
        let rows = rows.into_iter().map(|(name, value)| {
            format!("{} {}\n", paint.tint(super::print::Tint::Dim, &format!("{name:<9}")), clean(&value))
        });
        rows.collect()
    })
}
