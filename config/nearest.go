package config

import "strings"

// Nearest returns the known word that a typist most likely meant by word, or "" when none is
// close: one edit for each five letters and one more, three at most, or the whole word
// as the tail of a known one ("webhook.enabled" for "sinks.webhook.enabled").
func Nearest(word string, known []string) string {
	best, limit := "", min(3, 1+len(word)/5)
	for _, k := range known {
		if d := distance(word, k, limit); d <= limit {
			best, limit = k, d-1
		}
	}
	if best != "" {
		return best
	}
	for _, k := range known {
		if strings.HasSuffix(k, "."+word) || strings.HasSuffix(k, "_"+word) {
			return k
		}
	}
	return ""
}

// distance is Levenshtein's, in bytes; any figure above limit only means "more than limit".
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// didYouMean is the tail of an error about word: ", did you mean x?" or nothing.
func didYouMean(word string, known []string) string {
	if k := Nearest(word, known); k != "" {
		return ", did you mean " + k + "?"
	}
	return ""
}
