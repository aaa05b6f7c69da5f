package node

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"tertulia/chat"
	"tertulia/ordering"
	"tertulia/storage"
)

// Settings kept in storage.
const (
	settingNodeID   = "node_id"
	settingInstance = "instance"
	settingKept     = "instance/" // + room id: the instance under which this room alone goes on
	settingMachine  = "machine"
	settingUsername = "username"
	settingClient   = "client/" // + username: seed of the client key
	settingSeal     = "seal/"   // + room id: what this replica sealed last
	settingRoom     = "room/"   // + room id: chat.RoomSettings as JSON
	settingSeams    = "seams/"  // + room id: merges, and who was away
	settingInvite   = "invite/" // + room id: seed of the invite this node hands out
)

// identity is who a node is: fixed at the first start on a directory.
type identity struct {
	key    ed25519.PrivateKey
	origin ordering.Origin // when the directory was opened; see Node.origin
	nodeID string
}

const keyFile = "identity.key"

// loadIdentity reads the identity of a data directory, or makes it.
func loadIdentity(ctx context.Context, dir, wantID string, s *storage.Store) (identity, error) {
	var id identity
	var err error
	if id.key, err = loadKey(filepath.Join(dir, keyFile)); err != nil {
		return id, err
	}
	copy(id.origin.Device[:], id.key.Public().(ed25519.PublicKey))
	if id.nodeID, err = loadNodeID(ctx, wantID, s); err != nil {
		return id, err
	}

	// A directory copied to another machine, or made anew, goes on as a new
	// instance: two writers never share a chain.
	instance, err := s.Get(ctx, settingInstance)
	if err != nil {
		return id, err
	}
	machine, err := s.Get(ctx, settingMachine)
	if err != nil {
		return id, err
	}
	here := machineID()
	if len(instance) != ordering.InstanceSize || string(machine) != here {
		instance = make([]byte, ordering.InstanceSize)
		rand.Read(instance)
		put, err := s.Settings(ctx, settingKept)
		if err != nil {
			return id, err
		}
		for key := range put {
			put[key] = nil
		}
		put[settingInstance], put[settingMachine] = instance, []byte(here)
		if err := s.Commit(ctx, &storage.Write{Put: put}); err != nil {
			return id, err
		}
	}
	copy(id.origin.Instance[:], instance)
	return id, nil
}

// loadNodeID returns the node id fixed for the directory, or fixes it.
func loadNodeID(ctx context.Context, want string, s *storage.Store) (string, error) {
	kept, err := s.Get(ctx, settingNodeID)
	if err != nil {
		return "", err
	}
	if want == "" && len(kept) > 0 {
		return string(kept), nil
	}
	if want == "" {
		if want, err = os.Hostname(); err != nil || want == "" {
			want = "node"
		}
	}
	if want, err = cleanName("The node id", want); err != nil {
		return "", err
	}
	if strings.Contains(want, "~") {
		return "", chat.Errorf(chat.CodeInvalid, "The node id %q has a ~, which marks members of one name.", want).WithHint("Take a --node-id without it.")
	}
	if len(kept) > 0 && string(kept) != want {
		return "", chat.Errorf(chat.CodeInvalid, "This directory belongs to the node %q, not %q.", kept, want).
			WithHint("Leave out --node-id, or take another --data directory for another node.")
	}
	return want, s.Put(ctx, settingNodeID, []byte(want))
}

// loadKey reads the device key, 64 hex digits of seed, or makes it. The file is
// readable by its owner alone.
func loadKey(path string) (ed25519.PrivateKey, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			return nil, fmt.Errorf("node: make a device key: %w", err)
		}
		return key, writeFile(path, []byte(hex.EncodeToString(key.Seed())+"\n"))
	}
	if err != nil {
		return nil, fmt.Errorf("node: read the device key: %w", err)
	}
	seed, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, chat.Errorf(chat.CodeDisk, "The device key in %s is damaged.", path).
			WithHint("Restore the file from a backup. Without it this device cannot go on as the same member; with another --data directory it can join anew.")
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, fmt.Errorf("node: protect the device key: %w", err)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// writeFile replaces a file atomically and durably; its owner alone may read it.
func writeFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return fmt.Errorf("node: write %s: %w", path, err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("node: write %s: %w", path, err)
	}
	if d, err := os.Open(filepath.Dir(path)); err == nil {
		_ = d.Sync() // the rename; not every system can, and a lost one is made again
		d.Close()
	}
	return nil
}

// machineID tells machines apart, as far as the system says.
func machineID() string {
	for _, path := range []string{"/etc/machine-id", "/var/lib/dbus/machine-id"} {
		if b, err := os.ReadFile(path); err == nil && len(b) > 8 {
			return digest(b)
		}
	}
	name, _ := os.Hostname() // "" where it has none
	return digest([]byte(name))
}

func digest(b []byte) string {
	h := sha256.Sum256(append([]byte("tertulia machine v1\x00"), b...))
	return hex.EncodeToString(h[:16])
}

// clientKey returns the key of a person of this profile, made at first use.
func (n *Node) clientKey(ctx context.Context, username string) (ed25519.PrivateKey, error) {
	n.naming.Lock()
	defer n.naming.Unlock()
	n.mu.Lock()
	k, ok := n.clients[username]
	known := len(n.clients)
	n.mu.Unlock()
	if ok {
		return k, nil
	}
	if known >= maxClients {
		return nil, chat.Errorf(chat.CodeBusy, "This node knows %d names already.", maxClients).
			WithHint("Use one of them, or another node.")
	}
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed)
	if err := n.store.Put(ctx, settingClient+username, seed); err != nil {
		return nil, err
	}
	k = ed25519.NewKeyFromSeed(seed)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clients[username] = k
	return k, nil
}
