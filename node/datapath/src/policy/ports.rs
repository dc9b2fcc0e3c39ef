//! Ranges of ports as prefixes of their bits.

/// The fewest prefixes (first port, bits) that cover a range exactly; at most 30.
pub fn prefixes(first: u16, last: u16) -> Vec<(u16, u32)> {
    let (mut at, end) = (u32::from(first), u32::from(last) + 1);
    let mut out = Vec::new();
    while at < end {
        let aligned = at.trailing_zeros().min(16);
        let fits = (end - at).ilog2();
        let size = aligned.min(fits);
        // The loop's condition keeps `at` below 65,536.
        out.push((at as u16, 16 - size));
        at += 1 << size;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::prefixes;

    #[test]
    fn every_port_once() {
        for (first, last) in
            [(0, 65_535), (80, 80), (1, 65_534), (1000, 2000), (32_768, 60_999), (0, 0), (65_535, 65_535)]
        {
            let list = prefixes(first, last);
            assert!(list.len() <= 30);
            for port in 0..=u16::MAX {
                let covering = list.iter().filter(|(start, bits)| {
                    let shift = 16 - bits;
                    u32::from(*start) >> shift == u32::from(port) >> shift
                });
                assert_eq!(covering.count(), usize::from((first..=last).contains(&port)), "{port} of {first}-{last}");
            }
        }
        assert_eq!(prefixes(0, 65_535), [(0, 0)]);
        assert_eq!(prefixes(4, 7), [(4, 14)]);
    }
}
