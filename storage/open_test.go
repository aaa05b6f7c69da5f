package storage

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tertulia/chat"
	"tertulia/ordering"
)

const (
	childDir  = "TERTULIA_STORAGE_CHILD_DIR"
	childRows = 300 // acknowledged before the child is killed
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child commits a message after the other, says which are durable, and never ends by itself.
func child(dir string) error {
	s, err := Open(dir)
	if err != nil {
		return err
	}
	go s.Run(context.Background())
	a := newAuthor(1, testRoom(1))
	for ts := uint64(1); ; ts++ {
		if err := s.Commit(context.Background(), &Write{Room: a.room, Entries: []Entry{a.say(ts, fmt.Sprint(ts))}}); err != nil {
			return err
		}
		if _, err := fmt.Println(ts); err != nil {
			return err
		}
	}
}

func TestWhatWasAcknowledgedSurvivesKillAndTheLockDoesNot(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	acked := 0
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		acked, err = strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		if acked == 1 {
			if _, err := Open(dir); chat.CodeOf(err) != chat.CodeBusy || !strings.Contains(err.Error(), dir) {
				t.Errorf("a second process: %v", err)
			}
		}
		if acked == childRows {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // it was killed
	if acked < childRows {
		t.Fatalf("the child ended after %d commits", acked)
	}
	s := open(t, dir)
	if got := len(restored(t, s, testRoom(1))); got < acked || got > acked+1 {
		t.Errorf("%d entries after %d were acknowledged", got, acked)
	}
	total, _, err := s.Counts(t.Context(), testRoom(1))
	if err != nil || total < uint64(acked) {
		t.Errorf("total %d, %v", total, err)
	}
}

func TestADirectoryIsPrivate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such modes")
	}
	dir := filepath.Join(t.TempDir(), "new", "strange ?#% name")
	s := open(t, dir)
	if err := s.Put(t.Context(), "k", []byte("v")); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", st.Mode(), err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) < 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		if st, err := f.Info(); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f.Name(), st.Mode(), err)
		}
	}
}

func TestADatabaseOfVersionOneOpens(t *testing.T) {
	raw, err := os.ReadFile("testdata/v1.db")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, databaseName), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	rows, err := page(t, s, testRoom(1))
	wantTexts(t, "page", rows, err)
	a := newAuthor(1, testRoom(1))
	commit(t, s, testRoom(1), a.say(1, "first"))
	hits, err := s.Search(t.Context(), nil, "fir", 1)
	if err != nil || len(hits) != 1 {
		t.Errorf("search: %d, %v", len(hits), err)
	}
}

func TestAFailedMigrationLeavesTheVersionBefore(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	good, bad := "CREATE TABLE extra (x);", "CREATE TABLE more (x); INSERT INTO missing VALUES (1);"
	if err := migrate(t.Context(), s.conn, append(slices.Clone(migrations), good, bad)); err == nil {
		t.Fatal("the bad step went through")
	}
	var version, tables int
	err = s.conn.QueryRowContext(t.Context(), `SELECT (SELECT user_version FROM pragma_user_version),
		(SELECT count(*) FROM sqlite_schema WHERE name IN ('extra', 'more'))`).Scan(&version, &tables)
	if err != nil || version != len(migrations)+1 || tables != 1 {
		t.Errorf("version %d, %d tables, %v; want the good step alone", version, tables, err)
	}
}

func TestAStrangeDatabaseIsRefusedAndLeftAlone(t *testing.T) {
	whole := func(t *testing.T, pragma string) []byte {
		dir := t.TempDir()
		s, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.conn.ExecContext(t.Context(), pragma); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, databaseName))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := "PRAGMA user_version"
	for _, c := range []struct {
		name, wal string
		bytes     func(*testing.T) []byte
		code      chat.Code
		hint      string
	}{
		{"newer", "", func(t *testing.T) []byte { return whole(t, "PRAGMA user_version = 99") }, chat.CodeInvalid, "Update"},
		{"another program's", "", func(t *testing.T) []byte { return whole(t, "PRAGMA application_id = 5") }, chat.CodeInvalid, "Move"},
		{"no database", "", func(*testing.T) []byte { return []byte("hello, this is a letter") }, chat.CodeDisk, "move it"},
		{"cut short", "", func(t *testing.T) []byte { b := whole(t, good); return b[:len(b)/2] }, chat.CodeDisk, "move it"},
		{"a broken schema", "", func(t *testing.T) []byte {
			b := whole(t, good)
			copy(b[100:4096], bytes.Repeat([]byte{0xa5}, 3996))
			return b
		}, chat.CodeDisk, "move it"},
		{"broken pages after an unclean end", "garbage", func(t *testing.T) []byte {
			b := whole(t, good)
			copy(b[4096:], bytes.Repeat([]byte{0xa5}, len(b)-4096))
			return b
		}, chat.CodeDisk, "move it"},
		{"gone, with its log left", "log", func(*testing.T) []byte { return nil }, chat.CodeDisk, "move it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, databaseName)
			before := c.bytes(t)
			if err := os.WriteFile(path, before, 0o600); err != nil {
				t.Fatal(err)
			}
			if c.wal != "" {
				if err := os.WriteFile(path+"-wal", []byte(c.wal), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 { // the lock was released, too
				_, err := Open(dir)
				e, ok := errors.AsType[*chat.Error](err)
				if !ok || e.Code != c.code || !strings.Contains(e.Hint, c.hint) {
					t.Fatalf("opened: %v", err)
				}
			}
			after, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(before, after) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
}

func TestRoomsSettingsAndPeersAreKept(t *testing.T) {
	dir := t.TempDir()
	room := Room{
		ID: testRoom(1), Name: "lobby", State: "joining", Reason: "asking", Invite: "tertulia:x", Via: ordering.DeviceKey{3},
		Target: ordering.Vector{newAuthor(1, testRoom(1)).origin: 7, newAuthor(2, testRoom(1)).origin: 1 << 40},
		Mode:   ordering.Leader,
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, s)
	if err := s.Commit(t.Context(), &Write{Room: room.ID, Meta: &room, Put: map[string][]byte{"a": {1}, "b": {2}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "b", nil); err != nil {
		t.Fatal(err)
	}
	for i := range MaxPeers + 5 {
		if err := s.SavePeer(t.Context(), ordering.DeviceKey{byte(i), byte(i >> 8)}, "n", []string{"/ip4/127.0.0.1", "/ip6/::1"}, int64(i)); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "late", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("a write after the end: %v", err)
	}

	s = open(t, dir)
	rooms, err := s.Rooms(t.Context())
	if err != nil || len(rooms) != 1 || fmt.Sprintf("%+v", rooms[0]) != fmt.Sprintf("%+v", room) {
		t.Errorf("rooms: %+v, %v", rooms, err)
	}
	a, err := s.Get(t.Context(), "a")
	if err != nil || !bytes.Equal(a, []byte{1}) {
		t.Errorf("a: %v, %v", a, err)
	}
	if b, err := s.Get(t.Context(), "b"); err != nil || b != nil {
		t.Errorf("b: %v, %v", b, err)
	}
	peers, err := s.Peers(t.Context())
	if err != nil || len(peers) != MaxPeers || peers[0].SeenMS != MaxPeers+4 || len(peers[0].Addrs) != 2 {
		t.Errorf("%d peers, %v", len(peers), err)
	}
}

func TestADirectoryOfSomebodyElseIsLeftAsItIs(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "letters.txt"), []byte("dear"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); chat.CodeOf(err) != chat.CodeInvalid {
		t.Errorf("got %v", err)
	}
	st, err := os.Stat(dir)
	if err != nil || st.Mode().Perm() != 0o755 {
		t.Errorf("the directory was changed to %v, %v", st.Mode(), err)
	}
}
