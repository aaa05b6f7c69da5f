package node

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// spent returns what this process used up to now. The bytes are those of the whole
// loopback interface: they count when the test has a network of its own, as with
//
//	unshare -rn sh -c 'ip link set lo up && go test ...'
func spent(t testing.TB) (e expense) {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	e.cpu = time.Duration(used.Utime.Nano() + used.Stime.Nano())
	table, err := os.ReadFile("/proc/self/net/dev")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		if counts, ok := strings.CutPrefix(strings.TrimSpace(line), "lo:"); ok {
			if e.bytes, err = strconv.ParseUint(strings.Fields(counts)[0], 10, 64); err != nil {
				t.Fatal(err)
			}
		}
	}
	return e
}
