package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"github.com/adrg/xdg"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tertulia/chat"
	"tertulia/client"
	"tertulia/client/terminal"
)

// Exit statuses.
const (
	exitDone   = 0
	exitFailed = 1 // it could not be done
	exitUsage  = 2 // wrong usage
)

// run runs the command that args name and returns the exit status.
func (p program) run(ctx context.Context, args []string) int {
	root := p.rootCommand()
	root.SetArgs(args)
	root.SetIn(p.in)
	root.SetOut(p.out)
	root.SetErr(p.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	failed, ok := errors.AsType[*failure](err)
	if !ok {
		p.tell(err.Error(), "See: tertulia --help")
		return exitUsage
	}
	message, hint := terminal.Words(failed.err)
	p.tell(message, hint)
	switch chat.CodeOf(failed.err) {
	case chat.CodeInvalid, chat.CodeLater:
		return exitUsage
	case chat.CodeNotFound, chat.CodeAmbiguous, chat.CodeConflict, chat.CodeExpired, chat.CodeForbidden,
		chat.CodeUnreachable, chat.CodeDisk, chat.CodeBusy, chat.CodeInternal:
	}
	return exitFailed
}

// tell writes an error for people to stderr.
func (p program) tell(message, hint string) {
	fmt.Fprintln(p.err, terminal.Escape(message))
	if hint != "" {
		fmt.Fprintln(p.err, "hint: "+terminal.Escape(hint))
	}
}

// failure is an error of a command that was called rightly; every other error
// that comes out of cobra is wrong usage.
type failure struct{ err error }

func (f *failure) Error() string { return f.err.Error() }

// action wraps what a command does, after the environment has filled in the
// flags that were not given.
func (p program) action(do func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := settle(cmd.Flags(), p.getenv, nil)
		if err == nil {
			err = do(cmd.Context(), args)
		}
		if err != nil {
			return &failure{err}
		}
		return nil
	}
}

func (p program) rootCommand() *cobra.Command {
	root := p.nodeCommand()
	root.SilenceErrors = true
	root.SilenceUsage = true
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		p.chatCommand(),
		p.statusCommand(),
		p.historyCommand(),
		p.inviteCommand(),
		p.roomsCommand(),
		p.membersCommand(),
		p.versionCommand(),
	)
	for _, name := range []string{"attach-link", "export", "import", "verify", "bench"} {
		root.AddCommand(later(name))
	}
	return root
}

// later is a command that a later version brings.
func later(name string) *cobra.Command {
	return &cobra.Command{
		Use:                name,
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return &failure{chat.Errorf(chat.CodeLater, "`%s` comes with a later version.", cmd.CommandPath())}
		},
	}
}

// clientFlags are the flags of every command that talks to a running node.
type clientFlags struct {
	data    string
	connect string
	json    bool
}

func (f *clientFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.data, "data", defaultData(), "the node that runs on this `DIR`")
	cmd.Flags().StringVar(&f.connect, "connect", "", "the node behind this `LINK`")
	cmd.Flags().Lookup("connect").Hidden = true
	cmd.Flags().BoolVar(&f.json, "json", false, "one JSON object a line")
}

// open returns the client of the node that the flags name.
func (f *clientFlags) open() (*client.Client, error) {
	if f.connect != "" {
		return nil, chat.Errorf(chat.CodeLater, "`--connect` comes with a later version.").WithHint("Name the data directory of a node on this machine: --data DIR")
	}
	return client.Local(f.data)
}

// asking is an action that talks to a node.
func (p program) asking(f *clientFlags, do func(context.Context, *client.Client, []string) error) func(*cobra.Command, []string) error {
	return p.action(func(ctx context.Context, args []string) error {
		c, err := f.open()
		if err != nil {
			return err
		}
		defer c.Close()
		return do(ctx, c, args)
	})
}

func defaultData() string { return filepath.Join(xdg.DataHome, "tertulia") }

// defaultUsername is the name of the operating system's user.
func defaultUsername() string {
	name := os.Getenv("USER")
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	name = name[strings.LastIndexByte(name, '\\')+1:] // DOMAIN\user
	if name == "" {
		return "somebody"
	}
	return name
}

// terminalWidth returns the columns of w, 0 when it is no terminal.
func terminalWidth(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0
	}
	return width
}
