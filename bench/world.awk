# Prints N made-up components in Backstage's format, each with "### FILE" before it. Names, owners, tags and links have the
# lengths and the spread of a real company's; the same N gives the same world.
#   awk -v n=10000 -f bench/world.awk
function pick(list, i, parts) { return parts[1 + i % split(list, parts, " ")] }
BEGIN {
  what = "order payment basket invoice shipment address price stock search profile session voucher refund ledger report catalog review image message session"
  kind = "api worker gateway sync store router importer exporter watcher scheduler"
  tags = "rust go kotlin java python typescript postgres kafka grpc http batch pci public internal"
  verb = "Keeps Reads Writes Sends Checks Collects Prices Routes Signs Renders"
  for (i = 0; i < n; i++) {
    first = pick(what, i); second = pick(what, int(i / 7) + 3); third = pick(kind, int(i / 3))
    name = sprintf("%s-%s-%s-%05d", first, second, third, i)
    printf "### %03d/%s.yaml\n", i % 200, name
    print "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata:"
    printf "  name: %s\n", name
    printf "  description: %s every %s for the %s %s, and tells whoever asked\n", pick(verb, i), first, second, third
    printf "  labels: {pilothouse.dev/tier: \"%d\"}\n", i % 4
    printf "  tags: [%s, %s]\n", pick(tags, i), pick(tags, int(i / 14) + i + 5)
    printf "  links:\n    - {type: source, title: Source, url: \"https://code.acme.example/team-%02d/%s\"}\n", i % 50, name
    print "spec:\n  type: service"
    printf "  lifecycle: %s\n", i % 11 == 0 ? "deprecated" : i % 5 == 0 ? "experimental" : "production"
    printf "  owner: team-%02d\n", i % 50
    # Each depends on two of those before it.
    if (i >= 2) printf "  dependsOn: [component:%s, component:%s]\n", names[int(i / 2)], names[int(i / 3)]
    names[i] = name
  }
}
