// Package storage keeps what a node must not forget: the entries of its rooms as
// they were signed, the lines people read, room keys, settings and peers. It is
// one SQLite database per data directory.
//
// Writes go through one goroutine, Run, which makes whatever waits into one
// transaction with one fsync; Commit returns nil only when the write would
// survive a power cut. Reads go on beside it, also while the disk is full.
package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"tertulia/chat"
)

const (
	databaseName = "tertulia.db"
	lockName     = "lock"

	readConns       = 4
	busyTimeoutMS   = 5000
	writerCacheKiB  = 8192
	readerCacheKiB  = 2048
	walLimitBytes   = 64 << 20 // kept of the write-ahead log after a checkpoint
	checkpointPages = 4000     // of 4 KiB
)

// ErrNotFound says that the line asked for is not here.
var ErrNotFound = errors.New("storage: not found")

// ErrClosed says that a write came after Run had ended.
var ErrClosed = errors.New("storage: closed")

var errLocked = errors.New("storage: locked by another process")

// Store is an open data directory. Its methods may be called by any goroutine.
type Store struct {
	dir  string
	lock *os.File

	write *sql.DB
	conn  *sql.Conn // the only connection that writes; Run's after Open
	read  *sql.DB
	stmts statements

	slots        chan struct{} // held by each waiting job: at most maxWaiting
	wake         chan struct{} // one slot: jobs wait
	mu           sync.Mutex
	waiting      []*job
	closed       bool
	transactions atomic.Uint64

	w writer
}

// Open opens or creates the database in dir and takes the directory's lock. It
// refuses a directory in use (chat.CodeBusy) and a damaged, foreign or newer
// database, which it leaves as it is.
func Open(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("storage: open %s: %w", dir, err)
	}
	if err := makePrivate(dir); chat.CodeOf(err) == chat.CodeInvalid {
		return nil, err
	} else if err != nil {
		return nil, diskError(dir, fmt.Errorf("storage: make %s: %w", dir, err))
	}
	lock, err := takeLock(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{
		dir: dir, lock: lock,
		slots: make(chan struct{}, maxWaiting),
		wake:  make(chan struct{}, 1),
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.release())
	}
	return s, nil
}

func (s *Store) open() error {
	ctx := context.Background()
	path := filepath.Join(s.dir, databaseName)
	if err := checkFile(ctx, path); err != nil {
		return err
	}
	if err := createPrivate(path); err != nil {
		return diskError(s.dir, fmt.Errorf("storage: create %s: %w", path, err))
	}
	var err error
	if s.write, err = openWriter(path); err != nil {
		return err
	}
	if s.conn, err = s.write.Conn(ctx); err != nil {
		return diskError(s.dir, fmt.Errorf("storage: open %s: %w", path, err))
	}
	if err := migrate(ctx, s.conn, migrations); err != nil {
		return diskError(s.dir, err)
	}
	if err := s.w.prepare(ctx, s.conn); err != nil {
		return err
	}
	s.read, err = sql.Open("sqlite", dsn(path, "",
		fmt.Sprintf("busy_timeout(%d)", busyTimeoutMS),
		"query_only(1)", "temp_store(MEMORY)",
		fmt.Sprintf("cache_size(-%d)", readerCacheKiB)))
	if err != nil {
		return fmt.Errorf("storage: open %s: %w", path, err)
	}
	s.read.SetMaxOpenConns(readConns)
	s.read.SetMaxIdleConns(readConns)
	return s.stmts.prepare(ctx, s.read)
}

// openWriter opens the database for one connection that writes.
func openWriter(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn(path, "",
		fmt.Sprintf("busy_timeout(%d)", busyTimeoutMS),
		"journal_mode(WAL)", "synchronous(FULL)", "temp_store(MEMORY)",
		fmt.Sprintf("cache_size(-%d)", writerCacheKiB),
		fmt.Sprintf("journal_size_limit(%d)", walLimitBytes),
		fmt.Sprintf("wal_autocheckpoint(%d)", checkpointPages)))
	if err != nil {
		return nil, fmt.Errorf("storage: open %s: %w", path, err)
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// Close ends the reads and releases the directory. It is called after Run
// returned; writes that never reached Run fail.
func (s *Store) Close() error {
	s.stop()
	return s.release()
}

func (s *Store) release() error {
	var errs []error
	if s.read != nil {
		errs = append(errs, s.read.Close())
	}
	if s.conn != nil {
		s.w.close()
		errs = append(errs, s.conn.Close())
	}
	if s.write != nil {
		errs = append(errs, s.write.Close())
	}
	errs = append(errs, s.lock.Close())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("storage: close %s: %w", s.dir, err)
	}
	return nil
}

// Transactions returns how many transactions Run has committed.
func (s *Store) Transactions() uint64 { return s.transactions.Load() }

// dsn names the database at an absolute path for the driver.
func dsn(path, mode string, pragmas ...string) string {
	p := filepath.ToSlash(path)
	if !strings.HasPrefix(p, "/") {
		p = "/" + p // C:/ on Windows
	}
	q := url.Values{"_pragma": pragmas}
	if mode != "" {
		q.Set("mode", mode)
	}
	return (&url.URL{Scheme: "file", Path: p, RawQuery: q.Encode()}).String()
}

// makePrivate makes dir so that only its owner can look inside.
func makePrivate(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	st, err := os.Stat(dir)
	if err != nil || st.Mode().Perm()&0o077 == 0 || runtime.GOOS == "windows" {
		return err
	}
	if others, err := foreign(dir); err != nil {
		return err
	} else if others {
		return chat.Errorf(chat.CodeInvalid, "%s has other files in it and can be read by others.", dir).
			WithHint("Name a directory of its own with --data; it is made if it is not there.")
	}
	return os.Chmod(dir, 0o700)
}

// foreign reports whether a directory has files and is none of ours.
func foreign(dir string) (bool, error) {
	if _, err := os.Stat(filepath.Join(dir, databaseName)); err == nil {
		return false, nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	defer d.Close()
	names, err := d.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return len(names) > 0, err
}

// createPrivate makes the database file; SQLite gives the files beside it the
// same mode. The directory is synced, so that the name survives a power cut.
func createPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		if runtime.GOOS == "windows" {
			return nil
		}
		return os.Chmod(path, 0o600)
	}
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	dir := filepath.Dir(path)
	return errors.Join(syncDir(dir), syncDir(filepath.Dir(dir)))
}

func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be synced there
	}
	d, err := os.Open(dir)
	if errors.Is(err, os.ErrPermission) {
		return nil // a parent that is not ours to read
	}
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func takeLock(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, diskError(dir, fmt.Errorf("storage: open %s: %w", path, err))
	}
	err = lockFile(f)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, errLocked) {
		return nil, chat.Errorf(chat.CodeBusy, "Another Tertulia runs on %s.", dir).
			WithHint("Use its window, end it first, or choose another directory with --data.")
	}
	return nil, diskError(dir, fmt.Errorf("storage: lock %s: %w", path, err))
}
