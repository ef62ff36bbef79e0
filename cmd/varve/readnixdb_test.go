package main

import (
	"archive/tar"
	"database/sql"
	"fmt"
	"os"
	"path"
	"strings"

	_ "modernc.org/sqlite"
)

// printNixDB prints the content of Nix's database in an image, as an SQLite without
// varve's own packages reads it: a line for each path, reference and output.
func printNixDB(ts *script, args []string) error {
	img, err := scriptImage(ts, args[0])
	if err != nil {
		return err
	}
	var database []byte
	for _, layer := range img.layers {
		err := eachEntry(layer, func(h *tar.Header, content []byte) {
			if path.Clean("/"+h.Name) == "/nix/var/nix/db/db.sqlite" {
				database = content
			}
		})
		if err != nil {
			return err
		}
	}
	if database == nil {
		return fmt.Errorf("%s has no Nix database", args[0])
	}
	file := ts.MkAbs("db.sqlite")
	if err := os.WriteFile(file, database, 0o644); err != nil {
		return err
	}
	defer os.Remove(file)
	db, err := sql.Open("sqlite", "file:"+file+"?mode=ro&immutable=1")
	if err != nil {
		return err
	}
	defer db.Close()
	for _, query := range []string{
		`select path, hash, narSize, registrationTime, deriver, ultimate, sigs, ca from ValidPaths order by path`,
		`select a.path, 'refers to', b.path from Refs join ValidPaths a on a.id = referrer join ValidPaths b on b.id = reference order by 1, 3`,
		`select v.path, 'has output', o.id, o.path from DerivationOutputs o join ValidPaths v on v.id = o.drv order by 1, 3`,
	} {
		if err := printRows(ts, db, query); err != nil {
			return err
		}
	}
	return nil
}

// printRows prints the values of each row, "-" for none.
func printRows(ts *script, db *sql.DB, query string) error {
	rows, err := db.Query(query)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values, places := make([]sql.NullString, len(columns)), make([]any, len(columns))
	for i := range values {
		places[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(places...); err != nil {
			return err
		}
		var words []string
		for _, v := range values {
			if !v.Valid {
				v.String = "-"
			}
			words = append(words, v.String)
		}
		fmt.Fprintln(ts.Stdout(), strings.Join(words, " "))
	}
	return rows.Err()
}
