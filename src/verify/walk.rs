//! Walking a chain, link by link. Pure.

use super::{Point, Report};
use crate::chain::{GENESIS, Hash, hex};

/// Where a walk along a chain stands.
#[derive(Debug)]
pub(super) struct Walk {
    /// The table of the links.
    relation: &'static str,
    /// The column of their numbers.
    key: &'static str,
    /// Number and hash of the last link; 0 and zeros before the first.
    last: (i64, Hash),
    /// What others say of the chain: hashes by number, in order, not yet come to.
    claims: Vec<Claim>,
}

/// What somebody says of a link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    /// Its number.
    pub number: i64,
    /// Its hash.
    pub hash: Hash,
    /// Who says so.
    pub by: String,
}

/// A link as it is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link<'a> {
    /// Its number.
    pub number: i64,
    /// The hash that it names as the one before.
    pub previous: &'a [u8],
    /// Its hash.
    pub hash: &'a [u8],
}

impl Walk {
    /// Before the first link.
    pub fn new(relation: &'static str, key: &'static str, mut claims: Vec<Claim>) -> Self {
        // The last is the one that is come to first.
        claims.sort_by(|a, b| b.cmp(a));
        Self { relation, key, last: (0, GENESIS), claims }
    }

    /// The number of the last link.
    pub fn number(&self) -> i64 {
        self.last.0
    }

    /// Come to the next link, whose hash behind another is `hash_behind`.
    pub fn step(&mut self, link: Link<'_>, hash_behind: impl FnOnce(&Hash) -> Hash, report: &mut Report) {
        let Link { number, previous, hash } = link;
        let (last, last_hash) = self.last;
        let named = Hash::try_from(previous).unwrap_or(GENESIS);
        if number != last + 1 {
            report.breach(self.relation, self.range(last + 1, number - 1), "is missing");
        } else if named != last_hash {
            let row = self.range(last.max(1), last.max(1));
            report.breach(self.relation, row, format!("is not what the link behind it, {number}, was chained to"));
        }
        let hash = Hash::try_from(hash).unwrap_or(GENESIS);
        if hash_behind(&named) != hash {
            report.breach(self.relation, self.range(number, number), "is not what was hashed when it was written");
        }
        self.last = (number, hash);
        report.count(self.relation, 1);
        while self.claims.last().is_some_and(|claim| claim.number <= number) {
            let Some(claim) = self.claims.pop() else { break };
            if claim.number == number && claim.hash != hash {
                let what = format!("has another hash than {} says, {}", claim.by, hex(&claim.hash));
                report.breach(self.relation, self.range(number, number), what);
            }
        }
    }

    /// Behind the last link: is it the one that the head names, and is nothing missing that others have seen?
    pub fn end(self, chain: &'static str, head: (i64, Hash), report: &mut Report) {
        let (last, hash) = self.last;
        report.heads.insert(chain, Point { number: last, hash: hex(&hash) });
        if head.0 > last {
            report.breach(self.relation, self.range(last + 1, head.0), "is missing: the chain has been cut off");
        } else if head.0 < last {
            report.breach(self.relation, self.range(head.0 + 1, last), "was put in: it stands behind the chain's head");
        } else if head.1 != hash {
            report.breach(self.relation, self.range(last, last), "is not what the chain's head names");
        }
        for claim in self.claims.iter().rev() {
            let what = format!("is missing: {} has seen it", claim.by);
            report.breach(self.relation, self.range(claim.number, claim.number), what);
        }
    }

    fn range(&self, from: i64, to: i64) -> String {
        let key = self.key;
        if from == to { format!("{key} {from}") } else { format!("{key} {from} to {to}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Encoding;

    /// A chain of texts.
    fn chain(texts: &[&str]) -> Vec<(i64, Hash, Hash, String)> {
        let mut previous = GENESIS;
        let links = (1..).zip(texts).map(|(number, text)| {
            let hash = Encoding::of("test").text(text).bytes(&previous).hash();
            let link = (number, previous, hash, (*text).to_owned());
            previous = hash;
            link
        });
        links.collect()
    }

    fn found(links: &[(i64, Hash, Hash, String)], head: (i64, Hash), claims: Vec<Claim>) -> Vec<String> {
        let (mut walk, mut report) = (Walk::new("audit", "audit_id", claims), Report::default());
        for (number, previous, hash, text) in links {
            let hash_behind = |previous: &Hash| Encoding::of("test").text(text).bytes(previous).hash();
            walk.step(Link { number: *number, previous, hash }, hash_behind, &mut report);
        }
        walk.end("acts", head, &mut report);
        report.breaches.into_iter().map(|breach| format!("{} {}", breach.row, breach.what)).collect()
    }

    #[test]
    fn a_whole_chain_has_no_breach_and_each_change_is_named_where_it_was_made() {
        let whole = chain(&["a", "b", "c", "d"]);
        let head = (4, whole[3].2);
        assert_eq!(found(&whole, head, Vec::new()), Vec::<String>::new());
        let changed = |change: fn(&mut Vec<(i64, Hash, Hash, String)>)| {
            let mut links = whole.clone();
            change(&mut links);
            found(&links, head, Vec::new())
        };
        let altered = changed(|links| links[1].3 = "B".to_owned());
        assert_eq!(altered, ["audit_id 2 is not what was hashed when it was written"]);
        let recomputed = changed(|links| {
            links[1].3 = "B".to_owned();
            links[1].2 = Encoding::of("test").text("B").bytes(&links[1].1).hash();
        });
        assert_eq!(recomputed, ["audit_id 2 is not what the link behind it, 3, was chained to"]);
        assert_eq!(changed(|links| drop(links.remove(2))), ["audit_id 3 is missing"]);
        assert_eq!(changed(|links| drop(links.pop())), ["audit_id 4 is missing: the chain has been cut off"]);
        let last = changed(|links| {
            links[3].3 = "D".to_owned();
            links[3].2 = Encoding::of("test").text("D").bytes(&links[3].1).hash();
        });
        assert_eq!(last, ["audit_id 4 is not what the chain's head names"]);
    }

    #[test]
    fn what_is_known_outside_finds_a_chain_that_was_written_anew() {
        let whole = chain(&["a", "b", "c", "d"]);
        let claim = |number: i64| {
            let index = usize::try_from(number - 1).expect("from 1");
            Claim { number, hash: whole[index].2, by: "a file".to_owned() }
        };
        assert_eq!(found(&whole, (4, whole[3].2), vec![claim(4), claim(2)]), Vec::<String>::new());
        let anew = chain(&["a", "B", "c"]);
        let breaches = found(&anew, (3, anew[2].2), vec![claim(1), claim(2), claim(4)]);
        assert_eq!(breaches.len(), 2, "{breaches:?}");
        assert!(breaches[0].starts_with("audit_id 2 has another hash than a file says"));
        assert_eq!(breaches[1], "audit_id 4 is missing: a file has seen it");
    }
}
