package election

import (
	"bytes"
	"cmp"
	"strings"

	"tertulia/ordering"
)

// Rank is by whom a leader is chosen: the higher one leads. Ranks of different
// devices are never equal.
type Rank struct {
	Priority int32
	Name     string // the node's id, as it gives it
	Tie      ordering.DeviceKey
}

// Compare orders ranks: by priority, then by name, then by key. Runs of digits
// in names are compared as numbers of any length, so that "node2" ranks below
// "node10"; all else is compared bytewise, and so are names that differ in
// leading zeros alone.
func (r Rank) Compare(o Rank) int {
	return cmp.Or(
		cmp.Compare(r.Priority, o.Priority),
		compareNames(r.Name, o.Name),
		bytes.Compare(r.Tie[:], o.Tie[:]),
	)
}

func compareNames(a, b string) int {
	s, t := a, b
	for s != "" && t != "" {
		n, m := digits(s), digits(t)
		if n == 0 || m == 0 {
			n, m = 1, 1
			if s[0] != t[0] {
				return cmp.Compare(s[0], t[0])
			}
		} else if c := compareNumbers(s[:n], t[:m]); c != 0 {
			return c
		}
		s, t = s[n:], t[m:]
	}
	return cmp.Or(cmp.Compare(len(s), len(t)), strings.Compare(a, b))
}

// digits returns the length of the run of digits that s begins with.
func digits(s string) int {
	n := 0
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		n++
	}
	return n
}

func compareNumbers(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}
