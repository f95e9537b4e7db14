//! Who gives way, and long queues played through.

use std::time::Duration;

use super::*;

fn group(weight: u64, held: u64) -> Group {
    Group { weight, held }
}

/// Idle instances of these groups, the one that was used least recently first.
fn idle(groups: &[usize]) -> Vec<Idle> {
    let start = Instant::now();
    let since = |place: usize| start + Duration::from_secs(place as u64);
    groups.iter().enumerate().map(|(place, group)| Idle { group: *group, since: since(place) }).collect()
}

#[test]
fn among_equals_the_one_used_least_recently_goes() {
    let groups = [group(100, 3), group(100, 3), group(100, 3)];
    assert_eq!(victim(&groups, &idle(&[1, 0, 2]), 2, 0), Some(0));
    assert_eq!(victim(&groups, &[], 2, 1), None);
}

#[test]
fn who_has_more_than_its_share_goes_first() {
    let groups = [group(100, 2), group(100, 8), group(100, 0)];
    assert_eq!(victim(&groups, &idle(&[0, 0, 1, 1]), 2, 1), Some(2));
    // Four times the weight makes it fair.
    let groups = [group(100, 2), group(400, 8), group(100, 0)];
    assert_eq!(victim(&groups, &idle(&[0, 0, 1, 1]), 2, 1), Some(0));
}

#[test]
fn who_has_more_than_its_share_takes_nothing_from_those_who_have_not() {
    let groups = [group(100, 2), group(100, 8)];
    assert_eq!(victim(&groups, &idle(&[0]), 1, 1), None);
    assert_eq!(victim(&groups, &idle(&[0, 1]), 1, 1), Some(1), "its own");
    assert_eq!(victim(&groups, &idle(&[1]), 0, 1), Some(0));
}

#[test]
fn alone_all_is_its_fair_share() {
    assert_eq!(victim(&[group(100, 5)], &idle(&[0]), 0, 1), Some(0));
}

#[test]
fn a_group_that_nobody_knows_has_no_share() {
    assert_eq!(victim(&[group(1, 1)], &idle(&[7]), 0, 1), Some(0));
}

/// Serves `rounds` among services that always wait again; how much each group got.
fn play(services: &[(u8, u64, u64)], rounds: u32) -> BTreeMap<u8, u64> {
    let mut now = Instant::now();
    let mut turns = Turns::new();
    let mut waiting: Vec<Waiting<u8>> =
        services.iter().map(|(group, _, _)| Waiting { group: *group, since: now }).collect();
    let mut got = BTreeMap::new();
    for _ in 0..rounds {
        now += Duration::from_millis(1);
        let place = turns.next(&waiting).expect("somebody");
        let (group, weight, amount) = services[place];
        turns.served(group, weight, amount);
        waiting[place].since = now;
        *got.entry(group).or_insert(0) += amount;
    }
    got
}

#[test]
fn what_groups_get_is_as_their_weights() {
    let got = play(&[(0, 100, 1), (1, 300, 1), (2, 10, 1)], 4100);
    for (group, fair) in [(0, 1000_u64), (1, 3000), (2, 100)] {
        assert!(got[&group].abs_diff(fair) <= 2, "{got:?}");
    }
}

#[test]
fn many_services_of_a_group_get_no_more_than_one() {
    let mut services = vec![(0, 100, 1); 50];
    services.push((1, 100, 1));
    let got = play(&services, 2000);
    assert!(got[&0].abs_diff(got[&1]) <= 1, "{got:?}");
}

#[test]
fn large_ones_get_fewer_turns_and_as_much() {
    let got = play(&[(0, 100, 64), (1, 100, 1)], 6500);
    assert!(got[&0].abs_diff(got[&1]) <= 128, "{got:?}");
}

#[test]
fn nobody_starves_whoever_else_comes() {
    // A light one among heavy ones that come and go: it waits no longer than its weight says.
    let mut turns = Turns::new();
    let start = Instant::now();
    let light = Waiting { group: 1000, since: start };
    let mut longest = 0;
    let mut waits = 0;
    for round in 0..50_000_u32 {
        let heavy = Waiting { group: round % 40, since: start };
        let waiting = [heavy, light];
        let place = turns.next(&waiting).expect("somebody");
        if place == 1 {
            (longest, waits) = (longest.max(waits), 0);
            turns.served(light.group, 1, 1);
        } else {
            waits += 1;
            turns.served(heavy.group, 10_000, 1);
        }
    }
    assert!(longest > 0 && longest.max(waits) <= 40 * 10_000, "{longest}");
}

#[test]
fn who_was_away_does_not_catch_up() {
    let start = Instant::now();
    let mut turns = Turns::new();
    let both = [Waiting { group: 'a', since: start }, Waiting { group: 'b', since: start }];
    (0..1000).for_each(|_| turns.served('a', 100, 1));
    let mut of_b = 0;
    for _ in 0..100 {
        let place = turns.next(&both).expect("somebody");
        of_b += place;
        turns.served(both[place].group, 100, 1);
    }
    assert!((49..=52).contains(&of_b), "{of_b}");
}

#[test]
fn who_has_its_turn_keeps_it_until_it_is_served() {
    let start = Instant::now();
    let turns = Turns::new();
    let later = start + Duration::from_secs(1);
    let waiting = [Waiting { group: 1, since: later }, Waiting { group: 2, since: start }];
    assert_eq!(turns.next(&waiting), Some(1));
    assert_eq!(turns.next(&waiting), Some(1));
    assert_eq!(turns.next(&waiting[..0]), None);
}

#[test]
fn only_who_is_ahead_is_remembered() {
    let mut turns = Turns::new();
    for group in 0..10_000_u32 {
        turns.served(group, 100, 1);
    }
    let waiting: Vec<_> = (0..10_000).map(|group| Waiting { group, since: Instant::now() }).collect();
    for _ in 0..10_000 {
        let place = turns.next(&waiting[..3]).expect("somebody");
        turns.served(waiting[place].group, 100, 1);
    }
    assert!(turns.passed.len() <= 3, "{}", turns.passed.len());
}
