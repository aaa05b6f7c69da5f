package storage

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"tertulia/chat"
)

const (
	sqliteMagic = "SQLite format 3\x00"

	// checkTimeout bounds the search for damage after an unclean end; a
	// database too large for it is opened all the same.
	checkTimeout = 2 * time.Second
)

// checkFile refuses a database that is damaged, not ours, or of a newer version,
// without writing to it. A missing or empty file is in order.
func checkFile(ctx context.Context, path string) error {
	logged, err := size(path + "-wal")
	if err != nil {
		return diskError(path, err)
	}
	n, err := size(path)
	if err != nil {
		return diskError(path, err)
	}
	if n == 0 {
		if logged > 0 {
			return damaged(path, errors.New("storage: the database is gone, its log is not"))
		}
		return nil
	}
	if err := checkHeader(path); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", dsn(path, "ro", fmt.Sprintf("busy_timeout(%d)", busyTimeoutMS)))
	if err != nil {
		return fmt.Errorf("storage: open %s: %w", path, err)
	}
	// Read-only, so closing it does not write the log back either.
	return errors.Join(checkDatabase(ctx, db, path, logged > 0), db.Close())
}

func checkHeader(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return diskError(path, fmt.Errorf("storage: open %s: %w", path, err))
	}
	defer f.Close()
	head := make([]byte, len(sqliteMagic))
	if _, err := io.ReadFull(f, head); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return diskError(path, fmt.Errorf("storage: read %s: %w", path, err))
	}
	if !bytes.Equal(head, []byte(sqliteMagic)) {
		return damaged(path, errors.New("storage: not a SQLite database"))
	}
	return nil
}

// checkDatabase reads the schema, and every page when the last end was unclean.
func checkDatabase(ctx context.Context, db *sql.DB, path string, unclean bool) error {
	var version, app, tables int
	err := db.QueryRowContext(ctx, `SELECT (SELECT user_version FROM pragma_user_version),
		(SELECT application_id FROM pragma_application_id), (SELECT count(*) FROM sqlite_schema)`).
		Scan(&version, &app, &tables)
	if err != nil {
		return checkFailed(path, err)
	}
	if app != applicationID && (app != 0 || tables != 0) {
		return chat.Errorf(chat.CodeInvalid, "%s is not a database of Tertulia.", path).
			WithHint("Move the file away, or choose another directory with --data.")
	}
	if newest := len(migrations); version > newest {
		return chat.Errorf(chat.CodeInvalid, "%s was written by a newer Tertulia (version %d of the database; this one knows %d).", path, version, newest).
			WithHint("Update Tertulia. The file has not been touched.")
	}
	if !unclean {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	var found string
	err = db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&found)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return checkFailed(path, err)
	}
	if found != "ok" {
		return damaged(path, errors.New(found))
	}
	return nil
}

func checkFailed(path string, err error) error {
	err = fmt.Errorf("storage: check %s: %w", path, err)
	if isDamage(err) || resultCode(err) == sqlite3.SQLITE_ERROR {
		return damaged(path, err)
	}
	return diskError(path, err)
}

func damaged(path string, err error) error {
	return &chat.Error{
		Code:    chat.CodeDisk,
		Message: fmt.Sprintf("The database %s is damaged", path),
		Hint: "The file has not been touched. Restore a copy, or move it and the files whose names begin like it away: " +
			"Tertulia then starts afresh and fetches the rooms again from the other members once it is invited.",
		Err: err,
	}
}

func size(path string) (int64, error) {
	st, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("storage: look at %s: %w", path, err)
	}
	return st.Size(), nil
}

// resultCode returns SQLite's primary result code, 0 for other errors.
func resultCode(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return 0
}

func isDamage(err error) bool {
	c := resultCode(err)
	return c == sqlite3.SQLITE_CORRUPT || c == sqlite3.SQLITE_NOTADB
}

// isDisk reports whether err is the disk's fault, not that of what was written.
func isDisk(err error) bool {
	switch resultCode(err) {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY,
		sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PERM:
		return true
	}
	return false
}

// diskError puts err, which kept something from the disk at path, in words.
func diskError(path string, err error) error {
	if e, ok := errors.AsType[*chat.Error](err); ok {
		return e
	}
	switch {
	case resultCode(err) == sqlite3.SQLITE_FULL || isNoSpace(err):
		return &chat.Error{
			Code: chat.CodeDisk, Message: "The disk is full", Err: err,
			Hint: "Nothing new can be kept. Free some space; what was already written is safe, and writing goes on by itself.",
		}
	case isDamage(err):
		return damaged(path, err)
	default:
		return &chat.Error{
			Code: chat.CodeDisk, Message: "The disk does not take writes", Err: err,
			Hint: fmt.Sprintf("Look at the disk and the permissions of %s.", path),
		}
	}
}
