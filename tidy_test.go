package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// The plan of the house: who may import what, and which packages are pure.
// These tests read the source, whatever its build tags; test files are free.

// module is the import path of the root.
const module = "tertulia"

// reserved names what only some places may import. A place is a folder, a
// folder and everything below it ("p2p/..."), or a single file.
var reserved = []struct {
	what    string
	imports []string // import paths that begin so
	places  []string
}{
	{"a Fyne application", []string{"fyne.io/fyne/v2/app"}, []string{"gui.go"}},
	{"Fyne", []string{"fyne.io/", "github.com/dweymouth/fyne-tooltip"}, []string{"ui/...", "gui.go"}},
	{"libp2p", []string{"github.com/libp2p/", "github.com/multiformats/", "github.com/ipfs/"}, []string{"p2p/..."}},
	{"SQLite", []string{"modernc.org/sqlite"}, []string{"storage"}},
	{"protobuf", []string{"google.golang.org/protobuf", "github.com/golang/protobuf"}, []string{"p2p/wire/...", "api/...", "client"}},
	{"Connect", []string{"connectrpc.com/"}, []string{"api/...", "client"}},
	{"Raft", []string{"go.etcd.io/raft"}, []string{"ordering/control"}},
	{"the command line", []string{"github.com/spf13/"}, []string{"."}},
	{"the session bus", []string{"github.com/godbus/"}, []string{"desktop"}},
}

// generated code of schemas may be imported by those who may import protobuf.
var generatedFor = []string{"p2p/wire/...", "api/...", "client"}

// apart lists what a place must not reach, however long the way.
var apart = []struct {
	from string
	to   []string
}{
	{"ui", []string{"p2p/...", "storage", "node", "client", "desktop"}},
	{"desktop", []string{"ui/...", "p2p/...", "storage", "node", "client", "api/..."}},
	{"p2p/...", []string{"ui/...", "storage", "node", "client", "api/..."}},
	{"storage", []string{"ui/...", "p2p/...", "node", "client", "api/..."}},
	{"node", []string{"ui/...", "client", "api/..."}},
	{"api/...", []string{"ui/...", "p2p/...", "storage", "node"}},
	{"client", []string{"ui/...", "p2p/...", "storage", "node"}},
}

// closed lists places that import the standard library and, of what is not in
// it, only what stands here.
var closed = []struct {
	place string
	own   []string // packages of this module
	other []string // import paths that begin so
}{
	{"chat", nil, nil},
	{"ordering", nil, nil},
	{"ordering/control", []string{"ordering/..."}, []string{"go.etcd.io/raft"}},
	{"ordering/room", []string{"ordering/...", "election"}, nil},
	{"ordering/seats", []string{"ordering/...", "election"}, nil},
	{"ordering/sim", []string{"ordering/...", "election"}, nil},
	{"ordering/...", []string{"ordering/..."}, nil},
	{"election/...", []string{"ordering/...", "election/..."}, nil},
}

// pure lists the places without goroutine, clock, chance, input and output or
// mutable global. ordering/sim plays whole worlds with seeded chance.
var (
	pure   = []string{"ordering/...", "election/..."}
	impure = []string{"ordering/sim/..."}
)

// outside lists the imports a pure package does without, each with what is
// below it.
var outside = []string{
	"context", "crypto/rand", "embed", "io/fs", "io/ioutil", "log", "math/rand", "net", "os",
	"path/filepath", "plugin", "runtime", "sync", "syscall", "testing", "unsafe",
}

// outsideFuncs lists the functions of allowed packages that read the clock or
// chance, or write to the terminal.
var outsideFuncs = map[string][]string{
	"time":           {"After", "AfterFunc", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until"},
	"fmt":            {"Print", "Printf", "Println", "Scan", "Scanf", "Scanln"},
	"crypto/ed25519": {"GenerateKey"},
}

func TestTidyHouse(t *testing.T) {
	h, err := readHouse(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"ordering", "ordering/dag", "ordering/room", "chat", "storage", "p2p", "p2p/wire", "node", "api", "client", "ui"} {
		if h.rooms[dir] == nil {
			t.Errorf("no package found in %s: the rules for it say nothing", dir)
		}
	}
	for _, f := range h.findings() {
		t.Error(f)
	}
}

// sound is a small tree that keeps every rule.
var sound = map[string]string{
	"main.go":                    `package main; import (_ "github.com/spf13/cobra"; _ "tertulia/node"; _ "tertulia/p2p"; _ "tertulia/storage"; _ "tertulia/client")`,
	"gui.go":                     `package main; import (_ "fyne.io/fyne/v2/app"; _ "tertulia/ui")`,
	"ui/window.go":               `package ui; import (_ "fyne.io/fyne/v2"; _ "tertulia/chat")`,
	"ui/window_test.go":          `package ui; import _ "tertulia/node"`,
	"chat/chat.go":               `package chat; import _ "time"`,
	"storage/storage.go":         `package storage; import (_ "modernc.org/sqlite"; _ "tertulia/chat")`,
	"p2p/host.go":                `package p2p; import (_ "github.com/libp2p/go-libp2p"; _ "tertulia/p2p/wire")`,
	"p2p/wire/wire.go":           `package wire; import (_ "tertulia/ordering"; _ "tertulia/p2p/wire/wirepb")`,
	"p2p/wire/wirepb/wire.pb.go": `package wirepb; import _ "google.golang.org/protobuf/proto"`,
	"node/node.go":               `package node; import (_ "tertulia/ordering/room"; _ "tertulia/p2p"; _ "tertulia/storage"); func run() { go run() }`,
	"client/client.go":           `package client; import (_ "connectrpc.com/connect"; _ "tertulia/api/tertulia/v1")`,
	"api/handler.go":             `package api; import (_ "connectrpc.com/connect"; _ "tertulia/api/tertulia/v1")`,
	"api/tertulia/v1/t.pb.go":    `package tertuliav1; import _ "google.golang.org/protobuf/proto"`,
	"ordering/entry.go": `package ordering
		import ("errors"; "time")
		var ErrFork = errors.New("fork")
		var _ error = refusal{}
		var names = map[int]string{1: "one"}
		type refusal struct{}
		func (refusal) Error() string { return names[1] }
		func later(now time.Time) time.Time { names := []int{1}; names[0] = 2; return now.Add(time.Second) }`,
	"ordering/entry_test.go":   `package ordering; import ("os"; "time"); var start = time.Now(); func f() { os.Exit(0); go f() }`,
	"ordering/room/core.go":    `package room; import _ "tertulia/ordering"`,
	"ordering/control/core.go": `package control; import (_ "go.etcd.io/raft/v3"; _ "go.etcd.io/raft/v3/raftpb"; _ "tertulia/ordering")`,
	"ordering/sim/sim.go":      `package sim; import ("math/rand/v2"; _ "tertulia/ordering/room"); var dice = rand.New(nil); func f() { dice = nil }`,
	"election/bully.go":        `package election; import _ "tertulia/ordering"`,
}

func TestTidySoundTreeHasNoFindings(t *testing.T) {
	if got := findingsWith(t, nil); len(got) > 0 {
		t.Errorf("findings in a tree that keeps every rule:\n%s", strings.Join(got, "\n"))
	}
}

func TestTidyEveryRuleCanFail(t *testing.T) {
	for _, c := range []struct {
		name, file, source, want string
	}{
		{"window toolkit in main", "run.go", `package main; import _ "fyne.io/fyne/v2"`, "run.go imports fyne.io/fyne/v2: Fyne belongs to ui/..., gui.go"},
		{"application in ui", "ui/app.go", `package ui; import _ "fyne.io/fyne/v2/app"`, "a Fyne application belongs to gui.go"},
		{"libp2p in node", "node/x.go", `package node; import _ "github.com/libp2p/go-libp2p/core/peer"`, "libp2p belongs to p2p/..."},
		{"multiaddr in main", "addr.go", `package main; import _ "github.com/multiformats/go-multiaddr"`, "libp2p belongs to p2p/..."},
		{"SQLite in node", "node/x.go", `package node; import _ "modernc.org/sqlite"`, "SQLite belongs to storage"},
		{"protobuf in p2p itself", "p2p/x.go", `package p2p; import _ "google.golang.org/protobuf/proto"`, "protobuf belongs to p2p/wire/..."},
		{"generated code in node", "node/x.go", `package node; import _ "tertulia/p2p/wire/wirepb"`, "node imports tertulia/p2p/wire/wirepb: generated code belongs to"},
		{"Connect in node", "node/x.go", `package node; import _ "connectrpc.com/connect"`, "Connect belongs to"},
		{"Raft outside control", "ordering/sequencer/x.go", `package sequencer; import _ "go.etcd.io/raft/v3"`, "Raft belongs to ordering/control"},
		{"flags in node", "node/x.go", `package node; import _ "github.com/spf13/cobra"`, "the command line belongs to ."},
		{"session bus in ui", "ui/x.go", `package ui; import _ "github.com/godbus/dbus/v5"`, "the session bus belongs to desktop"},

		{"ui reaches storage", "ui/x.go", `package ui; import _ "tertulia/storage"`, "ui reaches storage: ui → storage"},
		{"ui reaches node by a detour", "chat/x.go", `package chat; import _ "tertulia/node"`, "ui reaches p2p: ui → chat → node → p2p"},
		{"ui reaches client", "ui/x.go", `package ui; import _ "tertulia/client"`, "ui reaches client"},
		{"storage reaches p2p below", "storage/x.go", `package storage; import _ "tertulia/p2p/wire"`, "storage reaches p2p/wire"},
		{"p2p reaches storage", "p2p/wire/x.go", `package wire; import _ "tertulia/storage"`, "p2p reaches storage: p2p → p2p/wire → storage"},
		{"node reaches ui", "node/x.go", `package node; import _ "tertulia/ui"`, "node reaches ui"},
		{"ui reaches desktop", "ui/x.go", `package ui; import _ "tertulia/desktop"`, "ui reaches desktop"},
		{"api reaches node", "api/x.go", `package api; import _ "tertulia/node"`, "api reaches node"},
		{"client reaches p2p", "client/x.go", `package client; import _ "tertulia/p2p"`, "client reaches p2p"},

		{"chat and another module", "chat/x.go", `package chat; import _ "golang.org/x/text/unicode/norm"`, "chat imports golang.org/x/text"},
		{"ordering and its child", "ordering/x.go", `package ordering; import _ "tertulia/ordering/room"`, "ordering imports tertulia/ordering/room"},
		{"room and chat", "ordering/room/x.go", `package room; import _ "tertulia/chat"`, "ordering/room imports tertulia/chat"},
		{"election and another module", "election/x.go", `package election; import _ "golang.org/x/sync/errgroup"`, "election imports golang.org/x/sync"},
		{"control and protobuf", "ordering/control/x.go", `package control; import _ "google.golang.org/protobuf/proto"`, "ordering/control imports google.golang.org/protobuf"},

		{"goroutine", "ordering/room/x.go", `package room; func f() { go f() }`, "starts a goroutine"},
		{"select", "ordering/room/x.go", `package room; func f() { select {} }`, "selects"},
		{"channel type", "ordering/room/x.go", `package room; type c struct { done chan int }`, "uses a channel"},
		{"clock", "election/x.go", `package election; import "time"; func f() { _ = time.Now() }`, "uses time.Now"},
		{"clock under another name", "ordering/x.go", `package ordering; import clock "time"; var f = clock.Since`, "uses time.Since"},
		{"clock by dot import", "ordering/x.go", `package ordering; import . "time"; func f() { _ = Now() }`, "dot import"},
		{"terminal", "ordering/x.go", `package ordering; import "fmt"; func f() { fmt.Println() }`, "uses fmt.Println"},
		{"terminal built in", "ordering/x.go", `package ordering; func f() { println() }`, "uses println"},
		{"chance by way of a key", "ordering/x.go", `package ordering; import "crypto/ed25519"; func f() { ed25519.GenerateKey(nil) }`, "uses crypto/ed25519.GenerateKey"},
		{"global assigned", "ordering/x.go", `package ordering; var n = 0; func f() { n = 1 }`, "changes the global n"},
		{"global from another file", "ordering/room/x.go", `package room; func f() { table[1]++ }`, "changes the global table"},
		{"global field", "ordering/x.go", `package ordering; var s = struct{ n []int }{}; func f() { (s.n)[0] += 1 }`, "changes the global s"},
		{"global through a pointer", "ordering/x.go", `package ordering; var p = new(int); func f() { *p = 1 }`, "changes the global p"},
		{"global map emptied", "ordering/x.go", `package ordering; var m = map[int]int{}; func f() { delete(m, 1) }`, "changes the global m"},
		{"global's address", "ordering/x.go", `package ordering; var a = [2]int{}; func f() *int { return &a[0] }`, "takes the address of the global a"},
		{"global ranged over into", "ordering/x.go", `package ordering; var i = 0; func f() { for i = range 3 { } }`, "changes the global i"},
		{"global without value", "ordering/x.go", `package ordering; var last int`, "global last has no value"},
	} {
		t.Run(c.name, func(t *testing.T) {
			extra := map[string]string{c.file: c.source, "ordering/room/table.go": `package room; var table = map[int]int{1: 1}`}
			got := findingsWith(t, extra)
			if !slices.ContainsFunc(got, func(f string) bool { return strings.Contains(f, c.want) }) {
				t.Errorf("no finding has %q; findings: %q", c.want, got)
			}
		})
	}
	for _, imp := range outside {
		t.Run("pure package and "+imp, func(t *testing.T) {
			got := findingsWith(t, map[string]string{"ordering/x.go": fmt.Sprintf("package ordering; import _ %q", imp)})
			if want := "ordering/x.go:1: imports " + imp; !slices.ContainsFunc(got, func(f string) bool { return strings.Contains(f, want) }) {
				t.Errorf("no finding has %q; findings: %q", want, got)
			}
		})
	}
}

// findingsWith returns what is found in the sound tree with extra files.
func findingsWith(t *testing.T, extra map[string]string) []string {
	t.Helper()
	tree := fstest.MapFS{}
	for _, files := range []map[string]string{sound, extra} {
		for name, source := range files {
			tree[name] = &fstest.MapFile{Data: []byte(source)}
		}
	}
	h, err := readHouse(tree)
	if err != nil {
		t.Fatal(err)
	}
	return h.findings()
}

// A house is the module's packages by folder.
type house struct {
	fset  *token.FileSet
	rooms map[string]*packageSource
}

// packageSource is a package without its tests, all build tags together.
type packageSource struct {
	dir       string
	files     []*ast.File
	generated bool // code made from a schema
}

// readHouse parses all Go files of a tree but tests, testdata and hidden folders.
func readHouse(tree fs.FS) (*house, error) {
	h := &house{fset: token.NewFileSet(), rooms: map[string]*packageSource{}}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base := path.Base(name); d.IsDir() {
			if name != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "bin" || base == "dist") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		source, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(h.fset, name, source, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := path.Dir(name)
		p := h.rooms[dir]
		if p == nil {
			p = &packageSource{dir: dir}
			h.rooms[dir] = p
		}
		p.files = append(p.files, file)
		p.generated = p.generated || strings.HasSuffix(name, ".pb.go") || strings.HasSuffix(name, ".connect.go")
		return nil
	})
	return h, err
}

// findings lists every breach of the plan, sorted.
func (h *house) findings() []string {
	var found []string
	for dir, p := range h.rooms {
		for _, file := range p.files {
			name := h.fset.Position(file.Package).Filename
			for _, spec := range file.Imports {
				found = append(found, h.importFindings(dir, name, importPath(spec))...)
			}
		}
		found = append(found, h.reachFindings(dir)...)
		if within(dir, pure...) && !within(dir, impure...) {
			found = append(found, h.purityFindings(p)...)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// importFindings holds one import of a file against reserved and closed.
func (h *house) importFindings(dir, file, imp string) []string {
	var found []string
	own, isOwn := ownDir(imp)
	if p := h.rooms[own]; isOwn && p != nil && p.generated && !within(dir, generatedFor...) {
		found = append(found, fmt.Sprintf("%s imports %s: generated code belongs to %s", dir, imp, strings.Join(generatedFor, ", ")))
	}
	for _, r := range reserved {
		if begins(imp, r.imports) {
			if !within(dir, r.places...) && !slices.Contains(r.places, file) {
				found = append(found, fmt.Sprintf("%s imports %s: %s belongs to %s", file, imp, r.what, strings.Join(r.places, ", ")))
			}
			break // the first that fits is the narrowest
		}
	}
	for _, c := range closed {
		if within(dir, c.place) {
			allowed := isStandard(imp) || isOwn && within(own, c.own...) || begins(imp, c.other)
			if !allowed {
				found = append(found, fmt.Sprintf("%s imports %s: beyond the standard library it takes only %q", dir, imp, slices.Concat(c.own, c.other)))
			}
			break // the first that fits is the narrowest
		}
	}
	return found
}

// reachFindings walks the module's imports from dir, shortest way first, and
// names the way to each package that dir must not reach.
func (h *house) reachFindings(dir string) []string {
	var forbidden []string
	for _, a := range apart {
		if within(dir, a.from) {
			forbidden = append(forbidden, a.to...)
		}
	}
	var found []string
	way := map[string]string{dir: dir}
	for queue := []string{dir}; len(queue) > 0; queue = queue[1:] {
		for _, next := range h.ownImports(queue[0]) {
			if way[next] != "" {
				continue
			}
			way[next] = way[queue[0]] + " → " + next
			queue = append(queue, next)
			if within(next, forbidden...) {
				found = append(found, fmt.Sprintf("%s reaches %s: %s", dir, next, way[next]))
			}
		}
	}
	return found
}

// ownImports lists the folders of the module's packages that dir imports.
func (h *house) ownImports(dir string) []string {
	var dirs []string
	if p := h.rooms[dir]; p != nil {
		for _, file := range p.files {
			for _, spec := range file.Imports {
				if own, ok := ownDir(importPath(spec)); ok {
					dirs = append(dirs, own)
				}
			}
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// purityFindings reports what a pure package must not do.
func (h *house) purityFindings(p *packageSource) []string {
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
	// Imports are stubs, so most selectors do not resolve; names do, which is
	// all that is asked of the checker. Its complaints are the compiler's trade.
	checker := types.Config{Importer: stubs{}, Error: func(error) {}}
	_, err := checker.Check(p.dir, h.fset, p.files, info)
	if checked := new(types.Error); err != nil && !errors.As(err, checked) {
		return []string{fmt.Sprintf("%s: %v", p.dir, err)}
	}

	var found []string
	report := func(n ast.Node, format string, args ...any) {
		pos := h.fset.Position(n.Pos())
		found = append(found, fmt.Sprintf("%s:%d: %s; %s is pure", pos.Filename, pos.Line, fmt.Sprintf(format, args...), p.dir))
	}
	// global returns the name of the package variable that an expression is
	// part of, or "".
	global := func(e ast.Expr) string {
		id := root(e)
		if id == nil {
			return ""
		}
		if v, ok := info.Uses[id].(*types.Var); ok && v.Parent() == v.Pkg().Scope() {
			return v.Name()
		}
		return ""
	}
	changes := func(exprs ...ast.Expr) {
		for _, e := range exprs {
			if name := global(e); e != nil && name != "" {
				report(e, "changes the global %s", name)
			}
		}
	}

	for _, file := range p.files {
		for _, spec := range file.Imports {
			imp := importPath(spec)
			if slices.ContainsFunc(outside, func(o string) bool { return imp == o || strings.HasPrefix(imp, o+"/") }) {
				report(spec, "imports %s", imp)
			}
			if spec.Name != nil && spec.Name.Name == "." {
				report(spec, "dot import of %s", imp)
			}
		}
		for _, decl := range file.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok || gen.Tok != token.VAR {
				continue
			}
			for _, spec := range gen.Specs {
				v := spec.(*ast.ValueSpec)
				for _, name := range v.Names {
					if len(v.Values) == 0 && name.Name != "_" {
						report(name, "global %s has no value, so somebody means to change it", name.Name)
					}
				}
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				report(n, "starts a goroutine")
			case *ast.SelectStmt:
				report(n, "selects")
			case *ast.ChanType, *ast.SendStmt:
				report(n, "uses a channel")
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					changes(n.Lhs...)
				}
			case *ast.IncDecStmt:
				changes(n.X)
			case *ast.RangeStmt:
				if n.Tok == token.ASSIGN {
					changes(n.Key, n.Value)
				}
			case *ast.UnaryExpr:
				if name := global(n.X); n.Op == token.AND && name != "" {
					report(n, "takes the address of the global %s", name)
				}
			case *ast.CallExpr:
				id, ok := n.Fun.(*ast.Ident)
				if !ok {
					break
				}
				builtin, ok := info.Uses[id].(*types.Builtin)
				if !ok {
					break
				}
				switch name := builtin.Name(); name {
				case "delete", "clear", "copy":
					changes(n.Args[:1]...)
				case "print", "println":
					report(n, "uses %s", name)
				}
			case *ast.SelectorExpr:
				id, ok := n.X.(*ast.Ident)
				if !ok {
					break
				}
				if imported, ok := info.Uses[id].(*types.PkgName); ok {
					if imp := imported.Imported().Path(); slices.Contains(outsideFuncs[imp], n.Sel.Name) {
						report(n, "uses %s.%s", imp, n.Sel.Name)
					}
				}
			}
			return true
		})
	}
	return found
}

// root returns the variable that an assignable expression is part of, nil when
// it is part of none.
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.IndexExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}

// stubs imports every package as an empty one.
type stubs struct{}

func (stubs) Import(imp string) (*types.Package, error) {
	name := path.Base(imp)
	if len(name) > 1 && name[0] == 'v' && strings.Trim(name[1:], "0123456789") == "" {
		name = path.Base(path.Dir(imp))
	}
	p := types.NewPackage(imp, name)
	p.MarkComplete()
	return p, nil
}

func importPath(spec *ast.ImportSpec) string {
	imp, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return spec.Path.Value // the parser has seen to it that this is a string
	}
	return imp
}

// ownDir returns the folder of a package of this module.
func ownDir(imp string) (dir string, ok bool) {
	if imp == module {
		return ".", true
	}
	return strings.CutPrefix(imp, module+"/")
}

// isStandard tells the standard library by its paths: no dot in their first part.
func isStandard(imp string) bool {
	_, own := ownDir(imp)
	first, _, _ := strings.Cut(imp, "/")
	return !own && !strings.Contains(first, ".")
}

func begins(imp string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(imp, p) })
}

// within says whether dir is one of places.
func within(dir string, places ...string) bool {
	return slices.ContainsFunc(places, func(place string) bool {
		below, all := strings.CutSuffix(place, "/...")
		return dir == below || all && strings.HasPrefix(dir, below+"/")
	})
}
