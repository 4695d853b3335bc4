-- What was checked when a deploy was asked for: approvers weigh it.

alter table deploys add column checks jsonb not null default '[]';
comment on column deploys.checks is 'The checks as the requester saw them (deploy::CheckMade); for people to read, not part of the digest.';
