-- Tokens of pipelines. Their owner is a machine; older replicas let them do what its cluster rights allow, and make none.

alter table tokens add column minted_by jsonb;
comment on column tokens.minted_by is 'For a token of a machine that somebody made: who (auth::Person). Null for one that was exchanged for a token of a CI system.';
