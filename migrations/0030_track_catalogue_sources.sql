-- Where an entity comes from, whom it names, and how bad a problem is.

alter table entities
    add column root    text    not null default '',
    add column by_hand boolean not null default false;
comment on column entities.root is 'The configured path (folder or file) it was found under: what vanishes from there is deleted.';
comment on column entities.by_hand is 'Imported with `platform import PATH`, so it stays although the configuration doesn''t name its root.';
create index entities_root on entities (root);

create table entity_references (
    entity uuid not null references entities (id) on delete cascade,
    field  text not null,
    target text not null
);
comment on table entity_references is 'Whom an entity names, in which field; the target as kind:namespace/name in lower case.';
create index entity_references_entity on entity_references (entity); -- replaced with their entity
create index entity_references_target on entity_references (target); -- "named by" on an entity's page

alter table import_problems
    add column root     text not null default '',
    add column severity text not null default 'error' check (severity in ('error', 'warning'));
create index import_problems_root on import_problems (root);
