package queue

// Excess returns how many entries, or bytes, of each instance have to go so that at most so many are left of all: those
// of the instances that have most, so that no instance's entries go because of another's as long as they are fewer. A
// [Store] bounds dead letters by it, and engines their logs.
func Excess[N int | int64](counts map[string]N, most N) map[string]N {
	var total, largest N
	for _, n := range counts {
		total += n
		largest = max(largest, n)
	}
	if total <= max(most, 0) {
		return nil
	}
	kept := func(level N) (sum N) {
		for _, n := range counts {
			sum += min(n, level)
		}
		return sum
	}
	low, high := N(0), largest // the largest level at which what is kept is not too much lies from low to below high
	for high-low > 1 {
		if level := (low + high) / 2; kept(level) <= most {
			low = level
		} else {
			high = level
		}
	}
	spare := max(most, 0) - kept(low) // one more each, for some of those above the level
	excess := map[string]N{}
	for instance, n := range counts {
		switch over := n - low; {
		case over <= 0:
		case spare > 0:
			spare--
			excess[instance] = over - 1
		default:
			excess[instance] = over
		}
	}
	return excess
}
