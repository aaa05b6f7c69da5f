package p2p

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
	"time"

	"tertulia/ordering"
)

// TestMain runs a node instead of the tests in the processes that
// TestKilledProcess starts.
func TestMain(m *testing.M) {
	listen := os.Getenv("P2P_TEST_CHILD")
	if listen == "" {
		os.Exit(m.Run())
	}
	if err := child(listen); err != nil {
		panic(err)
	}
}

// child is a node of seed 2 with the one member of seed 1. It prints its
// addresses and runs until it is killed.
func child(setup string) error {
	var s struct{ Listen, Peer []string }
	if err := json.Unmarshal([]byte(setup), &s); err != nil {
		return err
	}
	h := newScribe()
	n, err := New(Config{Key: testKey(2), Name: "n2", Listen: s.Listen, NoMDNS: true, NoDHT: true, Handler: h})
	if err != nil {
		return err
	}
	var d ordering.DeviceKey
	copy(d[:], testKey(1)[32:])
	n.Remember(d, s.Peer)
	n.Members([]ordering.DeviceKey{d})
	if err := json.NewEncoder(os.Stdout).Encode(map[string]any{"Addrs": n.Addrs(), "Listen": listeningAddrs(&node{Network: n})}); err != nil {
		return err
	}
	return n.Run(context.Background())
}

type process struct {
	*exec.Cmd
	Addrs, Listen []string
}

func startProcess(t *testing.T, listen, peer []string) *process {
	t.Helper()
	setup, err := json.Marshal(map[string]any{"Listen": listen, "Peer": peer})
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.Command(os.Args[0])}
	p.Env = append(os.Environ(), "P2P_TEST_CHILD="+string(setup))
	p.Stderr = os.Stderr
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(line, p); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait() // it was killed, and says so
}

func TestKilledProcessIsDownAndUpAgainAfterItsRestart(t *testing.T) {
	for name, listen := range map[string][]string{"tcp": onTCP, "quic": onQUIC, "both": onBoth} {
		t.Run(name, func(t *testing.T) {
			a := start(t, 1, func(c *Config) { c.Listen = listen })
			p := startProcess(t, listen, a.Addrs())
			var d ordering.DeviceKey
			copy(d[:], testKey(2)[32:])
			a.Remember(d, p.Addrs)
			a.Members([]ordering.DeviceKey{d})
			a.await(t, "up", d)
			began := time.Now()
			p.kill(t)
			what, value := a.next(t, d, "suspected", "down")
			learnt := time.Since(began)
			if what == "suspected" {
				if value != true {
					t.Error("not suspected any more, though it is dead")
				}
				a.await(t, "down", d)
			}
			down := time.Since(began)
			t.Logf("%s after %v", what, learnt)
			if learnt > time.Second {
				t.Error("too late")
			}
			began = time.Now()
			p2 := startProcess(t, p.Listen, a.Addrs())
			defer p2.kill(t)
			a.await(t, "up", d)
			up := time.Since(began)
			t.Logf("down after %v, up %v after the start of the new process", down, up)
			if down > 3*time.Second || up > 3*time.Second {
				t.Error("too late")
			}
		})
	}
}

func TestProcessRestartedAtOnceIsUpBeforeItsSilenceIsJudged(t *testing.T) {
	for name, listen := range map[string][]string{"tcp": onTCP, "quic": onQUIC} {
		t.Run(name, func(t *testing.T) {
			a := start(t, 1, func(c *Config) { c.Listen = listen })
			p := startProcess(t, listen, a.Addrs())
			var d ordering.DeviceKey
			copy(d[:], testKey(2)[32:])
			a.Remember(d, p.Addrs)
			a.Members([]ordering.DeviceKey{d})
			a.await(t, "up", d)
			p.kill(t)
			began := time.Now()
			p2 := startProcess(t, p.Listen, a.Addrs())
			defer p2.kill(t)
			a.await(t, "down", d)
			a.await(t, "up", d)
			t.Logf("up again %v after the kill", time.Since(began))
			if took := time.Since(began); took > 3*time.Second {
				t.Error("too late")
			}
		})
	}
}
