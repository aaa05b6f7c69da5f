package node

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"

	"tertulia/chat"
)

// speakerDir is the environment variable that makes the test binary a node on a
// directory, which talks without end.
const speakerDir = "TERTULIA_TEST_SPEAKER"

// speak runs a node that says what it can and prints the id of each message once
// it is sent, until it is killed.
func speak(dir string) {
	n, err := Open(Config{Dir: dir, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, NoMDNS: true, NoDHT: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go func() {
		<-n.Ready()
		for w := range 8 {
			go func() {
				for i := 0; ; i++ {
					s, err := n.Send(context.Background(), chat.Draft{Room: lobby, Text: fmt.Sprintf("%d of %d", i, w)})
					if err != nil {
						fmt.Fprintln(os.Stderr, err)
						os.Exit(1)
					}
					fmt.Println(s.ID)
				}
			}()
		}
	}()
	if err := n.Run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func TestNothingSentIsLostWhenANodeIsKilled(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	a, b := nodes[0], nodes[1]
	b.stop()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), speakerDir+"="+b.cfg.Dir)
	cmd.Stderr = os.Stderr
	out := must(cmd.StdoutPipe())(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := sync.OnceFunc(func() { cmd.Process.Kill() })
	defer kill()
	var sent []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if sent = append(sent, lines.Text()); len(sent) == 200 {
			kill()
		}
	}
	if err := cmd.Wait(); err == nil || len(sent) < 200 {
		t.Fatalf("%d sent, then %v", len(sent), err)
	}
	b = b.again()
	held := make(map[string]bool)
	for _, m := range b.history() {
		held[m.ID] = true
	}
	for _, id := range sent {
		if !held[id] {
			t.Errorf("%s was sent and is gone", id)
		}
	}
	b.say("goes on")
	sameLists(len(held)+1, b, a)
}
