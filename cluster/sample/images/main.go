// Makes the sample service's images as OCI image layouts, without a container engine:
//
//	images OUT SERVICE-BINARY PAUSE-BINARY
//
// writes OUT/pause and OUT/v1.0.0 and so on, one layout each. The same binaries give the same bytes,
// so an image keeps its digest when it is made again.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// A release is one tag of the sample service.
type release struct {
	tag       string
	behaviour string // a key of the service's behaviours
	created   time.Time
	revision  string // the commit it claims to be built from
}

var releases = []release{
	{"v1.0.0", "good", time.Date(2026, 6, 2, 9, 14, 0, 0, time.UTC), "3f1c9a5e0b7d4c2f8a6e1d9b5c3f7a2e4d8b6c10"},
	{"v1.1.0", "reworded", time.Date(2026, 7, 14, 13, 40, 0, 0, time.UTC), "8b2e6d4f1a9c7e3b5d0f8a6c4e2b1d9f7a5c3e84"},
	{"v1.2.0", "never-ready", time.Date(2026, 8, 11, 10, 5, 0, 0, time.UTC), "c47d1e9a3b5f8062d4c6e8a0b2f4d6c8e0a2b4f6"},
	{"v1.3.0", "crash", time.Date(2026, 9, 8, 15, 22, 0, 0, time.UTC), "5a9e3c7b1d8f2046a8c0e4b6d2f8a4c6e0b8d2f1"},
	{"v1.4.0", "out-of-memory", time.Date(2026, 10, 6, 8, 51, 0, 0, time.UTC), "e1b5d9f3a7c2046e8b0d4f6a8c2e0b4d6f8a1c39"},
	{"v1.5.0", "hostile-logs", time.Date(2026, 11, 3, 16, 30, 0, 0, time.UTC), "72f0a8c4e6b2d1937f5b3d9e1a7c5f8042b6d0ea"},
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 4 {
		log.Fatal("usage: images OUT SERVICE-BINARY PAUSE-BINARY")
	}
	out, service, pause := os.Args[1], layerOf(os.Args[2]), layerOf(os.Args[3])

	writeLayout(filepath.Join(out, "pause"), pause, time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC), nil, nil)
	for _, r := range releases {
		labels := map[string]string{
			"org.opencontainers.image.version":  r.tag,
			"org.opencontainers.image.revision": r.revision,
			"org.opencontainers.image.created":  r.created.Format(time.RFC3339),
			"org.opencontainers.image.source":   "https://git.example/sample/service",
		}
		env := []string{"VERSION=" + r.tag, "BEHAVIOUR=" + r.behaviour}
		writeLayout(filepath.Join(out, r.tag), service, r.created, env, labels)
	}
}

// A layer is one gzipped tar, with the digests the image has to name.
type layer struct {
	compressed []byte
	diffID     string // of the tar before compression
}

// layerOf puts a binary at /app in a filesystem of its own, with nothing of this machine in it.
func layerOf(binary string) layer {
	content := must(os.ReadFile(binary))
	var plain, compressed bytes.Buffer
	archive := tar.NewWriter(&plain)
	check(archive.WriteHeader(&tar.Header{Name: "app", Mode: 0o755, Size: int64(len(content)), ModTime: time.Unix(0, 0)}))
	must(archive.Write(content))
	check(archive.Close())
	zipped := gzip.NewWriter(&compressed)
	must(zipped.Write(plain.Bytes()))
	check(zipped.Close())
	return layer{compressed.Bytes(), digest(plain.Bytes())}
}

type object = map[string]any

func writeLayout(folder string, l layer, created time.Time, env []string, labels map[string]string) {
	check(os.RemoveAll(folder))
	check(os.MkdirAll(filepath.Join(folder, "blobs", "sha256"), 0o755))

	config := encode(object{
		"created":      created.Format(time.RFC3339),
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config": object{
			"User":         "65532:65532",
			"Entrypoint":   []string{"/app"},
			"Env":          env,
			"Labels":       labels,
			"ExposedPorts": object{"8080/tcp": object{}},
		},
		"rootfs":  object{"type": "layers", "diff_ids": []string{l.diffID}},
		"history": []object{{"created": created.Format(time.RFC3339), "created_by": "cluster/sample/images"}},
	})
	const oci = "application/vnd.oci.image."
	manifest := encode(object{
		"schemaVersion": 2,
		"mediaType":     oci + "manifest.v1+json",
		"config":        blob(folder, oci+"config.v1+json", config),
		"layers":        []object{blob(folder, oci+"layer.v1.tar+gzip", l.compressed)},
		"annotations":   labels,
	})
	index := encode(object{
		"schemaVersion": 2,
		"mediaType":     oci + "index.v1+json",
		"manifests":     []object{blob(folder, oci+"manifest.v1+json", manifest)},
	})
	check(os.WriteFile(filepath.Join(folder, "index.json"), index, 0o644))
	check(os.WriteFile(filepath.Join(folder, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644))
}

// blob stores content under its digest and returns the descriptor that names it.
func blob(folder, mediaType string, content []byte) object {
	name := digest(content)
	check(os.WriteFile(filepath.Join(folder, "blobs", "sha256", name[len("sha256:"):]), content, 0o644))
	return object{"mediaType": mediaType, "digest": name, "size": len(content)}
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func encode(v object) []byte { return must(json.Marshal(v)) }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func must[T any](value T, err error) T {
	check(err)
	return value
}
