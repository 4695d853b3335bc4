-- The last lines of a migration's log, for when its Job is deleted. Older replicas know nothing of this table.

create table deploy_logs (
    deploy bigint primary key references deploys (id),
    pod    text   not null,
    lines  jsonb  not null
);
comment on table deploy_logs is 'The newest lines (at most 200) of what a migration wrote. Shown only to people who may read the namespace''s logs.';
