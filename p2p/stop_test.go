//go:build unix

package p2p

import (
	"syscall"
	"testing"
	"time"

	"tertulia/ordering"
)

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// neighbour starts a node and one in another process, and waits until both know
// that they are connected: a dial that is stopped half-way is given up.
func neighbour(t *testing.T, listen []string) (*node, *process, ordering.DeviceKey) {
	t.Helper()
	a := start(t, 1, func(c *Config) { c.Listen = listen })
	p := startProcess(t, listen, a.Addrs())
	t.Cleanup(func() { p.kill(t) })
	var d ordering.DeviceKey
	copy(d[:], testKey(2)[32:])
	a.Remember(d, p.Addrs)
	a.Members([]ordering.DeviceKey{d})
	a.await(t, "up", d)
	for deadline := time.After(patience); a.RTT(d) == 0; { // until it answers heartbeats
		select {
		case <-deadline:
			t.Fatal("no round trip was measured")
		case <-time.After(10 * time.Millisecond):
		}
	}
	return a, p, d
}

func TestStoppedProcessIsSuspectedAndGoesOnInItsSession(t *testing.T) {
	for name, listen := range map[string][]string{"tcp": onTCP, "quic": onQUIC} {
		t.Run(name, func(t *testing.T) {
			a, p, d := neighbour(t, listen)
			p.signal(t, syscall.SIGSTOP)
			began := time.Now()
			what, suspected := a.next(t, d, "suspected", "down")
			if took := time.Since(began); what != "suspected" || suspected != true {
				t.Fatalf("%s, %v", what, suspected)
			} else if t.Logf("suspected after %v", took); took > 2*time.Second {
				t.Error("too late")
			}
			select {
			case c := <-a.calls:
				t.Fatalf("while it is stopped: %s, %v", c.what, c.value)
			case <-time.After(silenceExtra / 4):
			}
			began = time.Now()
			p.signal(t, syscall.SIGCONT)
			if what, suspected := a.next(t, d, "suspected", "down"); what != "suspected" || suspected != false {
				t.Fatalf("after it went on: %s, %v", what, suspected)
			}
			t.Logf("not suspected %v after it went on", time.Since(began))
		})
	}
}

func TestProcessStoppedForLongIsDownAndSoonUpAgain(t *testing.T) {
	for name, listen := range map[string][]string{"tcp": onTCP, "quic": onQUIC} {
		t.Run(name, func(t *testing.T) {
			a, p, d := neighbour(t, listen)
			p.signal(t, syscall.SIGSTOP)
			began := time.Now()
			a.await(t, "down", d)
			t.Logf("down after %v", time.Since(began))
			<-time.After(stopLength) // several attempts fail meanwhile
			began = time.Now()
			p.signal(t, syscall.SIGCONT)
			a.await(t, "up", d)
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("up only %v after it went on", took)
			} else {
				t.Logf("up %v after it went on", took)
			}
		})
	}
}

// stopLength is how long a process is stopped beyond its being down.
const stopLength = 3 * time.Second
