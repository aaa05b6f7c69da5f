package main

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tertulia/chat"
	"tertulia/node"
)

// nodeFlags are the settings of a node. Each is also a variable TERTULIA_… of
// the environment and a key of the file that --config names; a flag beats the
// environment, which beats the file.
type nodeFlags struct {
	headless  bool
	json      bool
	config    string
	data      string
	nodeID    string
	priority  int
	port      int
	listen    []string
	bootstrap bool
	ordering  string
	stability time.Duration
	hold      time.Duration
	join      []string
	noMDNS    bool
	noDHT     bool
	api       string
	tokenFile string
	metrics   string
	log       string
}

func (p program) nodeCommand() *cobra.Command {
	var f nodeFlags
	cmd := &cobra.Command{
		Use:   "tertulia",
		Short: "Group chat without a server",
		Long: "Tertulia is a group chat without a server. Without a command it opens the window; the node runs inside it.\n" +
			"Every flag is also a variable in the environment (--node-id is TERTULIA_NODE_ID) and a key in the file of\n" +
			"--config (node-id). A flag beats the environment, which beats the file.",
		Args: linkOrNothing,
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.headless, "headless", false, "run a node without a window")
	flags.BoolVar(&f.json, "json", false, "with --headless: events as JSON lines on stdout")
	flags.StringVar(&f.config, "config", "", "read settings from this TOML `FILE`")
	flags.StringVar(&f.data, "data", defaultData(), "keep everything in this `DIR`")
	flags.StringVar(&f.nodeID, "node-id", "", "the node's `NAME`, fixed at the first start; empty = the host's name")
	flags.IntVar(&f.priority, "priority", 0, "rank in elections; the highest leads, and among equals the highest node id")
	flags.IntVar(&f.port, "port", 0, "TCP and QUIC port; 0 = any free one")
	flags.StringArrayVar(&f.listen, "listen", nil, "listen on this `MULTIADDR` instead of all interfaces; may be repeated")
	flags.BoolVar(&f.bootstrap, "bootstrap", false, "serve as bootstrap and relay; create the room lobby when there is none")
	flags.StringVar(&f.ordering, "ordering", string(chat.Lamport), "order of the lobby when it is created: lamport or leader")
	flags.DurationVar(&f.stability, "leader-stability", 10*time.Second, "how long a member is up without a break before it may vote in rooms ordered by a leader")
	flags.DurationVar(&f.hold, "leader-hold", 10*time.Second, "how long a member of higher rank is up before it takes over from the leader; doubles when it flaps")
	flags.StringArrayVar(&f.join, "join", nil, "join by this `INVITE`, or by the one in @FILE; may be repeated")
	flags.BoolVar(&f.noMDNS, "no-mdns", false, "do not look for peers on the local network")
	flags.BoolVar(&f.noDHT, "no-dht", false, "do not look for peers in the distributed hash table")
	flags.StringVar(&f.api, "api", "", "serve the HTTP API on this `ADDR`; empty = a unix socket in the data directory")
	flags.StringVar(&f.tokenFile, "api-token-file", "", "the API wants the token in this `FILE`; needed for an address others can reach")
	flags.StringVar(&f.metrics, "metrics", "", "serve Prometheus metrics on this `ADDR`")
	flags.StringVar(&f.log, "log", "info", "`LEVEL` of the log (debug, info, warn, error), or by package: p2p=debug,room=info")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		err := settleNode(cmd.Flags(), p.getenv)
		if err == nil {
			err = p.runNode(cmd.Context(), f, strings.Join(args, ""))
		}
		if err != nil {
			return &failure{err}
		}
		return nil
	}
	return cmd
}

// linkOrNothing takes an invite, as a desktop hands over a link that was clicked.
func linkOrNothing(cmd *cobra.Command, args []string) error {
	if len(args) == 1 && strings.HasPrefix(args[0], "tertulia:") {
		return nil
	}
	return cobra.NoArgs(cmd, args)
}

// runNode opens the node and runs it until ctx ends or its window is closed.
// The window offers to join by link unless that is "". A window that runs on
// the directory already comes to the front instead.
func (p program) runNode(ctx context.Context, f nodeFlags, link string) error {
	if f.headless && link != "" {
		return chat.Errorf(chat.CodeInvalid, "A link is for the window.").WithHint("Without one, name it with --join.")
	}
	cfg, err := p.nodeConfig(f)
	if err != nil {
		return err
	}
	guard, err := newGuard(f.api, f.tokenFile)
	if err != nil {
		return err
	}
	if !f.headless {
		if raised, err := raiseWindow(ctx, cfg.Dir, link); raised || err != nil {
			return err
		}
		if err := mayOpenWindow(); err != nil {
			return err
		}
	}
	n, err := node.Open(cfg)
	if chat.CodeOf(err) == chat.CodeBusy && !f.headless && awaitWindow(ctx, cfg.Dir, link) {
		return nil
	}
	if err != nil {
		return err
	}
	s := &server{program: p, flags: f, dir: cfg.Dir, link: link, guard: guard, node: n, log: cfg.Log}
	return s.run(ctx)
}

func (p program) nodeConfig(f nodeFlags) (node.Config, error) {
	if f.json && !f.headless {
		return node.Config{}, chat.Errorf(chat.CodeInvalid, "--json needs --headless.")
	}
	if f.port < 0 || f.port > 65535 {
		return node.Config{}, chat.Errorf(chat.CodeInvalid, "--port is 0 to 65535, not %d.", f.port)
	}
	if f.stability < time.Millisecond || f.hold < time.Millisecond {
		return node.Config{}, chat.Errorf(chat.CodeInvalid, "--leader-stability and --leader-hold are at least 1ms.")
	}
	order, err := parseOrder(f.ordering)
	if err != nil {
		return node.Config{}, err
	}
	log, err := newLogger(p.err, f.log)
	if err != nil {
		return node.Config{}, err
	}
	dir, err := filepath.Abs(f.data)
	if err != nil {
		return node.Config{}, &chat.Error{Code: chat.CodeInvalid, Message: "--data names no directory.", Err: err}
	}
	var invites []string
	for _, arg := range f.join {
		invite, err := readInvite(arg)
		if err != nil {
			return node.Config{}, err
		}
		invites = append(invites, invite)
	}
	return node.Config{
		Dir:       dir,
		NodeID:    f.nodeID,
		Priority:  f.priority,
		Port:      f.port,
		Listen:    f.listen,
		Bootstrap: f.bootstrap,
		Ordering:  order,
		Stability: f.stability,
		Hold:      f.hold,
		Join:      invites,
		NoMDNS:    f.noMDNS,
		NoDHT:     f.noDHT,
		Version:   version,
		Log:       log,
	}, nil
}
