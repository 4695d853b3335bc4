-- What pods read when they start is nothing that the portal writes, so a rollback does not bring it back: it can only say
-- that it has changed. Older replicas leave the column out.
alter table releases add column reads jsonb;
comment on column releases.reads is 'ConfigMaps and Secrets that its pods read, each with a print of what was in it (deploy::reads::Prints). Null: nobody could look.';
