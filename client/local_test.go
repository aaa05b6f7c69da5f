package client_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"tertulia/api/apitest"
	"tertulia/chat"
	"tertulia/client"
)

func TestLocalFindsTheNodeOfADirectory(t *testing.T) {
	dir := t.TempDir()
	s := apitest.Serve(t, apitest.New())
	if err := os.WriteFile(filepath.Join(dir, "api"), []byte(s.Address()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := client.Local(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	view, err := c.View(t.Context())
	if err != nil || view.NodeID != "n1" {
		t.Fatalf("view %+v, %v", view, err)
	}
	s.Stop()
	if _, err := c.View(t.Context()); chat.CodeOf(err) != chat.CodeUnreachable {
		t.Errorf("after the node died: %v", err)
	}
	s.Start()
	if _, err := c.View(t.Context()); err != nil {
		t.Errorf("after the node came back: %v", err)
	}
}

func TestLocalSaysHowToStartANode(t *testing.T) {
	empty, stale, large := t.TempDir(), t.TempDir(), t.TempDir()
	write := func(dir, text string) {
		if err := os.WriteFile(filepath.Join(dir, "api"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(stale, "unix:"+filepath.Join(stale, "gone"))
	write(large, string(make([]byte, 1<<16)))
	for _, dir := range []string{empty, stale, large} {
		_, err := client.Local(dir)
		told, ok := errors.AsType[*chat.Error](err)
		if !ok || told.Code != chat.CodeUnreachable ||
			told.Message != "No node runs on "+dir+"." ||
			told.Hint != "Start one with: tertulia --headless --data "+dir {
			t.Errorf("got %#v", err)
		}
	}
}
