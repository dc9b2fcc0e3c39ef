use abi::Rate;

use super::pay;

/// Bytes that pass in `seconds` when packets of `size` are offered at `bits` a second, and bytes that were offered.
fn passed(rate: &mut Rate, bits: u64, size: u32, seconds: u64) -> (u64, u64) {
    let step = 8_000_000_000 * u64::from(size) / bits;
    let (mut now, mut sum, mut offered) = (1_000_000_000_000, 0, 0);
    let end = now + seconds * 1_000_000_000;
    while now < end {
        if let Some(full) = pay(rate, size, now) {
            rate.full = full;
            sum += u64::from(size);
        }
        offered += u64::from(size);
        now += step;
    }
    (sum, offered)
}

#[test]
fn a_limit_holds_whatever_is_offered() {
    for bits in [100_000, 10_000_000, 1_000_000_000, 40_000_000_000_u64] {
        for size in [64, 1_500, 65_000] {
            let mut rate = Rate::of_bits(bits);
            let seconds = if bits > 1_000_000_000 { 1 } else { 10 };
            let burst = rate.burst / rate.cost;
            let most = bits / 8 * seconds * 101 / 100 + burst + u64::from(size);
            let (sum, _) = passed(&mut rate, bits * 3, size, seconds);
            assert!(sum <= most, "{bits} bits/s, packets of {size}: {sum} of {most} bytes");
            assert!(sum * 100 >= bits / 8 * seconds * 99, "{bits} bits/s, packets of {size}: only {sum} bytes");
        }
    }
}

#[test]
fn what_is_within_the_limit_loses_nothing() {
    let mut rate = Rate::of_bits(10_000_000);
    let (sum, offered) = passed(&mut rate, 9_900_000, 1_500, 10);
    assert_eq!(sum, offered);
}

#[test]
fn the_extremes_do_not_overflow() {
    assert_eq!(Rate::of_bits(0).cost, 0);
    for bits in [1, 1_000, u64::MAX] {
        let mut rate = Rate::of_bits(bits);
        assert!(rate.cost > 0);
        // Whatever the clock says, wrapped or not, and however long it has been idle: the bucket is full, then it is empty.
        for now in [0, 1 << 50, u64::MAX / 3, u64::MAX] {
            let mut packets = 0;
            while let Some(full) = pay(&rate, 65_535, now) {
                rate.full = full;
                packets += 1;
                assert!(packets < 10_000_000, "no end at {bits} bits a second");
            }
            assert!(packets >= 4, "{packets} at {bits} bits a second");
        }
    }
}
