package sim

import (
	"encoding/binary"
	"fmt"

	"tertulia/ordering"
)

// What the trace and the checks read of a consensus message: its head in the
// encoding of package control, which is version, kind, instance, seat, term, and
// up to three numbers of which the kind tells the meaning.
const (
	raftHead       = 2 + ordering.InstanceSize + 8 + 8
	raftAppResp    = 2
	raftVoteResp   = 4
	raftTimeoutNow = 10
)

var raftKinds = []string{"?", "app", "appresp", "vote", "voteresp", "prevote", "prevoteresp", "snap", "heartbeat", "heartbeatresp", "timeoutnow", "feed", "feedsnap"}

// raftPromise reads what a consensus message says: its kind and term; and of an
// answer, up to where the log is held and whether it refuses.
func raftPromise(b []byte) (kind uint8, term, number uint64, refused bool) {
	if len(b) < raftHead {
		return 0, 0, 0, false
	}
	kind, term = b[1], binary.BigEndian.Uint64(b[raftHead-8:])
	rest := b[raftHead:]
	if kind == raftAppResp && len(rest) >= 9 {
		number, rest = binary.BigEndian.Uint64(rest), rest[8:]
	}
	if len(rest) > 0 {
		refused = rest[0] == 1
	}
	return kind, term, number, refused
}

// describeRaft says what a consensus message is about.
func describeRaft(b []byte) string {
	if len(b) < raftHead || int(b[1]) >= len(raftKinds) {
		return fmt.Sprintf("%d bytes", len(b))
	}
	kind := raftKinds[b[1]]
	s := fmt.Sprintf("%s term=%d", kind, binary.BigEndian.Uint64(b[raftHead-8:]))
	b = b[raftHead:]
	number := func(name string) {
		if len(b) >= 8 {
			s += fmt.Sprintf(" %s=%d", name, binary.BigEndian.Uint64(b))
			b = b[8:]
		}
	}
	switch kind {
	case "app", "feed":
		number("prev")
		number("prevterm")
		number("commit")
		if len(b) >= 4 {
			s += fmt.Sprintf(" records=%d", binary.BigEndian.Uint32(b))
		}
	case "appresp":
		number("index")
		if len(b) > 0 && b[0] == 1 {
			s += " reject"
		}
	case "vote", "prevote":
		number("last")
		number("lastterm")
		if len(b) > 0 && b[0] == 1 {
			s += " transfer"
		}
	case "voteresp", "prevoteresp":
		if len(b) > 0 && b[0] == 1 {
			s += " reject"
		}
	case "heartbeat":
		number("commit")
	}
	return s
}
